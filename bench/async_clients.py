"""The asyncio clients, each reduced to "increase this user's number by one".

Nothing is closed: every measurement ends its own process. Each gets what it needs
to stand the load (pool or in-flight limits at least as large as the load), because
a refused call is no speed; all other settings are its defaults.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bench.task import FLOOR, OURS, PIPELINE, CannotMeasure, Task

Increase = Callable[[str], Awaitable[int]]
IncreaseMany = Callable[[list[str]], Awaitable[list[int]]]

PATIENCE = 60.0  # seconds; calls are held back on purpose by inflight_memory


async def open_seqcache(task: Task) -> Increase:
    """Return our own call as a user gets it: nothing is wrapped around it."""
    import seqcache

    held = task.point.question == "inflight_memory"
    options = {"timeout": PATIENCE} if held else {}
    cache: Any = await seqcache.acache(task.url, **options)
    increase: Increase = cache.increase_seq
    return increase


async def open_redis_py(task: Task) -> Increase:
    """Return redis-py's usual pool, grown to the load (the default ends at 100)."""
    import redis.asyncio

    client: Any = redis.asyncio.Redis.from_url(
        task.url, max_connections=max(100, task.point.load)
    )

    async def increase(user: str) -> int:
        return int(await client.incr(f"seq:{user}"))

    return increase


async def open_valkey_py(task: Task) -> Increase:
    """Return valkey-py's usual pool, grown to the load."""
    import valkey.asyncio

    url = task.url.replace("redis://", "valkey://", 1)
    client: Any = valkey.asyncio.Valkey.from_url(
        url, max_connections=max(100, task.point.load)
    )

    async def increase(user: str) -> int:
        return int(await client.incr(f"seq:{user}"))

    return increase


async def open_coredis(task: Task) -> Increase:
    """Return coredis with its defaults."""
    import coredis

    path = task.path if task.is_unix else None
    client: Any = coredis.Redis(task.host, task.port, unix_socket_path=path)
    await client.__aenter__()

    async def increase(user: str) -> int:
        return int(await client.incr(f"seq:{user}"))

    return increase


async def open_glide(task: Task) -> Increase:
    """Return valkey-glide, its in-flight limit (1000) raised to the load."""
    import glide

    if task.is_unix:
        raise CannotMeasure("valkey-glide knows no unix socket")
    settings = glide.GlideClientConfiguration(
        [glide.NodeAddress(task.host, task.port)],
        request_timeout=int(PATIENCE * 1000),
        inflight_requests_limit=max(1000, task.point.load + 100),
    )
    client: Any = await glide.GlideClient.create(settings)

    async def increase(user: str) -> int:
        return int(await client.incr(f"seq:{user}"))

    return increase


async def open_redis_rs(task: Task) -> Increase:
    """Return redis-rs; a larger pool than its default does not speed it up."""
    import redis_rs

    if task.is_unix:
        raise CannotMeasure("not measured over a unix socket")
    opener: Any = redis_rs.create_client(task.url)
    client = await opener.__aenter__()

    async def increase(user: str) -> int:
        return int(await client.execute("INCR", f"seq:{user}"))

    return increase


async def open_bare_future(_task: Task) -> Increase:
    """Return a future that the next turn of the loop resolves: asyncio's floor."""
    loop = asyncio.get_running_loop()
    pending: list[asyncio.Future[int]] = []

    def resolve() -> None:
        batch = pending[:]
        pending.clear()
        for future in batch:
            future.set_result(1)

    def increase(_user: str) -> asyncio.Future[int]:
        future = loop.create_future()
        if not pending:
            loop.call_soon(resolve)
        pending.append(future)
        return future

    return increase


async def open_pipeline(task: Task) -> IncreaseMany:
    """Return redis-py's explicit pipeline, used in the best possible way."""
    import redis.asyncio

    client: Any = redis.asyncio.Redis.from_url(task.url)

    async def increase_many(users: list[str]) -> list[int]:
        pipeline = client.pipeline(transaction=False)
        for user in users:
            pipeline.incr(f"seq:{user}")
        return [int(value) for value in await pipeline.execute()]

    return increase_many


PEERS: dict[str, Callable[[Task], Awaitable[Increase]]] = {
    "redis-py": open_redis_py,
    "valkey-py": open_valkey_py,
    "valkey-glide": open_glide,
    "coredis": open_coredis,
    "redis-rs": open_redis_rs,
}
CLIENTS = {OURS: open_seqcache, FLOOR: open_bare_future, **PEERS}
PIPELINES: dict[str, Callable[[Task], Awaitable[IncreaseMany]]] = {
    PIPELINE: open_pipeline,
}


async def open_client(task: Task) -> Increase:
    """Open the client that the task names, and prove that it counts."""
    increase = await CLIENTS[task.point.client](task)
    first = await increase("warm-up")
    second = await increase("warm-up")
    if type(second) is not int or second != first + (task.point.client != FLOOR):
        raise CannotMeasure(f"does not count: {first!r}, then {second!r}")
    return increase


def run(task: Task, measurement: Callable[[], Any]) -> Any:
    """Run a coroutine function on the loop that the task names; leave it unclosed."""
    if task.loop == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    return loop.run_until_complete(measurement())
