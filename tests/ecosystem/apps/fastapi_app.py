"""A FastAPI service: a cache for each worker, opened and closed with it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

import seqcache


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the cache that SEQCACHE_URL names."""
    async with seqcache.acache() as cache:
        app.state.cache = cache
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/{user_id}")
async def send(request: Request, user_id: str) -> list[int]:
    """Take the next number of a user."""
    return [await request.app.state.cache.increase_seq(user_id), os.getpid()]
