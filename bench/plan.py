"""Which points one run measures."""

from __future__ import annotations

from bench import async_clients, import_time, sync_clients
from bench import telemetry as telemetry_cost
from bench.bulk import AWAITED
from bench.leases import COUNTER, EMPTY
from bench.memory import EMBEDDED
from bench.task import FLOOR, HIREDIS, OURS, PIPELINE, RAW, Point

IN_FLIGHT = (1, 10, 100, 1000)
THREADS = (1, 8, 32)
BULK = 1000
DICT = "dict and lock"
# A connection a call: the server's own limit is 10,000 of them.
HELD = {"redis-py": 1000, "valkey-py": 1000, "coredis": 1000}
HELD_OTHERS = 10_000
QUESTIONS = (
    "async_calls",
    "threads",
    "bulk",
    "leases",
    "memory",
    "inflight_memory",
    "import_time",
    "fairness",
    "durable",
    "telemetry",
)


def async_calls() -> list[Point]:
    """S1, S2, S3, and the unix socket for comparison."""
    clients = [OURS, *async_clients.PEERS, PIPELINE, FLOOR, HIREDIS, RAW]
    points = [Point("async_calls", c, n) for n in IN_FLIGHT for c in clients]
    return points + [
        Point("async_calls", client, 1, transport="unix")
        for client in (OURS, "redis-py", HIREDIS)
    ]


def threads() -> list[Point]:
    """S4, S5, and the unix socket for comparison."""
    points = [
        Point("threads", client, number)
        for number in THREADS
        for client in (OURS, *sync_clients.PEERS)
    ]
    points.append(Point("threads", HIREDIS, 1))
    return points + [
        Point("threads", client, 1, transport="unix")
        for client in (OURS, "redis-py", HIREDIS)
    ]


def bulk() -> list[Point]:
    """S6."""
    clients = [OURS, AWAITED, *sync_clients.PEERS, HIREDIS]
    points = [Point("bulk", c, BULK, v) for v in ("increase", "get") for c in clients]
    return [*points, Point("bulk", RAW, BULK, "increase")]


def leases() -> list[Point]:
    """S7."""
    beside = {"next": (OURS, EMPTY, COUNTER), "awaited": (OURS, EMPTY)}
    return [
        Point("leases", client, variant=variant)
        for variant, clients in beside.items()
        for client in clients
    ]


def memory() -> list[Point]:
    """S9."""
    points = [
        Point("memory", client, variant=variant)
        for variant in ("call", "bulk")
        for client in (OURS, DICT)
    ]
    return [*points, Point("memory", OURS, variant=EMBEDDED)]


def inflight_memory() -> list[Point]:
    """S10."""
    return [
        Point("inflight_memory", client, HELD.get(client, HELD_OTHERS))
        for client in (OURS, FLOOR, *async_clients.PEERS)
    ]


def imports() -> list[Point]:
    """S11."""
    return [Point("import_time", client) for client in import_time.MODULES]


def fairness() -> list[Point]:
    """S12."""
    clients = (OURS, FLOOR, *async_clients.PEERS)
    return [Point("fairness", client, 1000) for client in clients]


def durable() -> list[Point]:
    """S8."""
    loads = [("asyncio", 100), *(("threads", number) for number in THREADS)]
    return [Point("durable", OURS, load, variant) for variant, load in loads]


def telemetry() -> list[Point]:
    """Return what tracing and counting cost a call, next to none of it."""
    return [
        Point("telemetry", OURS, load, variant)
        for load in (1, 100)
        for variant in telemetry_cost.VARIANTS
    ]


def every_point() -> list[Point]:
    """Return all points, in the order of the table."""
    parts = (
        *(async_calls, threads, bulk, leases, memory),
        *(inflight_memory, imports, fairness),
        durable,
        telemetry,
    )
    return [point for part in parts for point in part()]


def chosen(questions: list[str], clients: list[str]) -> list[Point]:
    """Return the points of those questions and clients; an empty list means all."""
    return [
        point
        for point in every_point()
        if (not questions or point.question in questions)
        and (not clients or point.client in clients)
    ]
