"""Numbers for messages over HTTP: `uvicorn fastapi_app:app --workers 4`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request

import seqcache


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # SEQCACHE_URL, or redis://localhost:6379/0
    async with seqcache.acache() as app.state.cache:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/conversations/{conversation}/messages")
async def send(
    conversation: str,
    request: Request,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> dict[str, int]:
    try:
        seq = await request.app.state.cache.increase_seq(
            conversation, token=idempotency_key
        )
    except seqcache.OutcomeUnknown as error:
        raise HTTPException(503, "unknown: repeat with the same key") from error
    except seqcache.SeqCacheError as error:
        raise HTTPException(503, "not counted: try again") from error
    return {"seq": seq}


@app.get("/conversations/{conversation}")
async def last(conversation: str, request: Request) -> dict[str, int]:
    return {"seq": await request.app.state.cache.get_seq(conversation)}
