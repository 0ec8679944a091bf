"""The blocking clients, each reduced to increase, increase many, and read many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.task import OURS, CannotMeasure, Task


@dataclass(frozen=True)
class Blocking:
    """One client. The bulk calls take prepared ids and return one int for each."""

    increase: Callable[[str], int]
    increase_many: Callable[[Sequence[str]], list[int]]
    get_many: Callable[[Sequence[str]], list[int]]


def open_seqcache(task: Task) -> Blocking:
    """Return our own calls as a user gets them."""
    import seqcache

    cache: Any = seqcache.cache(task.url)
    return Blocking(cache.increase_seq, cache.increase_seqs, cache.get_seqs)


def over_redis_py(client: Any) -> Blocking:
    """Return what redis-py and its fork valkey-py have in common."""

    def increase(user: str) -> int:
        return int(client.incr(f"seq:{user}"))

    def increase_many(users: Sequence[str]) -> list[int]:
        pipeline = client.pipeline(transaction=False)
        for user in users:
            pipeline.incr(f"seq:{user}")
        return [int(value) for value in pipeline.execute()]

    def get_many(users: Sequence[str]) -> list[int]:
        found = client.mget([f"seq:{user}" for user in users])
        return [int(value or 0) for value in found]

    return Blocking(increase, increase_many, get_many)


def open_redis_py(task: Task) -> Blocking:
    """Return redis-py with its defaults (hiredis parser)."""
    import redis

    return over_redis_py(redis.Redis.from_url(task.url))


def open_valkey_py(task: Task) -> Blocking:
    """Return valkey-py with its defaults (libvalkey parser)."""
    import valkey

    url = task.url.replace("redis://", "valkey://", 1)
    return over_redis_py(valkey.Valkey.from_url(url))


def open_glide_sync(task: Task) -> Blocking:
    """Return valkey-glide-sync with its defaults."""
    import glide_sync

    if task.is_unix:
        raise CannotMeasure("valkey-glide-sync knows no unix socket")
    address = glide_sync.NodeAddress(task.host, task.port)
    settings = glide_sync.GlideClientConfiguration([address], request_timeout=60_000)
    client: Any = glide_sync.GlideClient.create(settings)

    def increase(user: str) -> int:
        return int(client.incr(f"seq:{user}"))

    def increase_many(users: Sequence[str]) -> list[int]:
        batch = glide_sync.Batch(is_atomic=False)
        for user in users:
            batch.incr(f"seq:{user}")
        answers: list[int] = client.exec(batch, raise_on_error=True)
        return answers

    def get_many(users: Sequence[str]) -> list[int]:
        found = client.mget([f"seq:{user}" for user in users])
        return [int(value or 0) for value in found]

    return Blocking(increase, increase_many, get_many)


PEERS: dict[str, Callable[[Task], Blocking]] = {
    "redis-py": open_redis_py,
    "valkey-py": open_valkey_py,
    "valkey-glide-sync": open_glide_sync,
}
CLIENTS = {OURS: open_seqcache, **PEERS}


def open_client(task: Task) -> Blocking:
    """Open the client that the task names, and prove that its three calls count."""
    client = CLIENTS[task.point.client](task)
    first, second = client.increase("warm-up"), client.increase("warm-up")
    many = client.increase_many(["warm-up", "warm-up"])
    expected = [first + 1, first + 2, first + 3]
    if [second, *many] != expected or type(second) is not int:
        raise CannotMeasure(f"does not count: {second!r}, {many!r}, not {expected!r}")
    if client.get_many(["warm-up", "never seen"]) != [first + 3, 0]:
        raise CannotMeasure("does not read many")
    return client
