"""Numbers for messages over HTTP, with aiohttp: `python aiohttp_app.py`."""

from collections.abc import AsyncIterator

from aiohttp import web

import seqcache

CACHE = web.AppKey("cache", seqcache.AsyncSeqCache)


async def open_cache(app: web.Application) -> AsyncIterator[None]:
    async with seqcache.acache() as app[CACHE]:
        yield


async def send(request: web.Request) -> web.Response:
    conversation = request.match_info["conversation"]
    seq = await request.app[CACHE].increase_seq(conversation)
    return web.json_response({"seq": seq})


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(open_cache)
    app.router.add_post("/conversations/{conversation}/messages", send)
    return app


if __name__ == "__main__":
    web.run_app(make_app())
