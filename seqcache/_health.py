"""What a server says about itself: the questions of `health()` and their answers."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

from . import __version__
from ._html import table
from .errors import AuthError, ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._steps import Face, Steps
    from .config import Config

PINGS = 5


class Health(NamedTuple):
    """How a server is. What its ACL hides, or is no matter there, is empty or None.

    ``role`` is ``"primary"`` or ``"replica"``; ``persistence`` names what is on
    (``"aof everysec"``, ``"aof everysec + rdb"``, ``"rdb"``, ``"none"``; ``"ceilings"``
    for counters of this process that a database vouches for);
    ``eviction`` is the policy for a full memory; ``latency`` is the median of five
    round trips, ``clock`` how far the server's clock is ahead, both in seconds;
    ``functions`` tells whether it has what durable mode needs. ``details`` is all of
    INFO.
    """

    server: str
    software: str = ""
    version: str = ""
    mode: str = ""
    role: str = ""
    persistence: str = ""
    eviction: str = ""
    memory: int | None = None
    memory_limit: int | None = None
    replicas: int | None = None
    clients: int | None = None
    functions: bool | None = None
    latency: float = 0.0
    clock: float | None = None
    details: Mapping[str, str] = {}

    def __str__(self) -> str:
        rows = self._rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {text}" for name, text in rows)

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{name}={getattr(self, name)!r}" for name in self._fields[:-1]
        )
        return f"Health({fields})"

    def _repr_html_(self) -> str:
        return table(("health", "value"), self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        fields = self._asdict()
        del fields["details"]
        fields["latency"] = f"{self.latency * 1000:.3f} ms"
        if self.clock is not None:
            fields["clock"] = f"{self.clock:+.3f} s"
        return [
            (name.replace("_", " "), str(value))
            for name, value in fields.items()
            if value not in ("", None)
        ]


def examine(face: Face, where: str) -> Steps[Health]:
    """Ask for what `Health` holds; each question may be refused."""
    config: Config = face.config
    pings: list[float] = []
    for _ in range(PINGS):
        pings.append((yield "ping", ()))
    latency = statistics.median(pings)
    kind = config.location.kind
    if kind in ("memory", "sqlite"):
        return _of_process(where, config, latency)
    if kind == "other":
        return Health(where, software=config.location.scheme, latency=latency)
    clock = yield from _clock()
    info = parse_info((yield from _ask("INFO")))
    engines = yield from _ask("FUNCTION", "STATS")
    appends = pairs((yield from _ask("CONFIG", "GET", "append*")))
    saves = pairs((yield from _ask("CONFIG", "GET", "save")))
    software, version = software_of(info)
    if not info:
        hello = pairs((yield from _ask("HELLO")))
        software, version = hello.get("server", ""), hello.get("version", "")
        info = {"role": hello.get("role", ""), "redis_mode": hello.get("mode", "")}
    return Health(
        server=where,
        software=software,
        version=version,
        mode=info.get("redis_mode") or info.get("server_mode", ""),
        role=role_of(info),
        persistence=persistence_of(info, appends, saves),
        eviction=info.get("maxmemory_policy", ""),
        memory=number(info, "used_memory"),
        memory_limit=number(info, "maxmemory"),
        replicas=number(info, "connected_slaves"),
        clients=number(info, "connected_clients"),
        functions=_functions_of(engines, version),
        latency=latency,
        clock=clock,
        details=info,
    )


def _of_process(where: str, config: Config, latency: float) -> Health:
    """Counters of this process: what is on a disk are their ceilings, if at all."""
    kind = config.location.kind
    on_disk = kind == "sqlite" or config.ceilings is not None
    return Health(
        where,
        software=kind,
        version=__version__,
        role="primary",
        persistence="ceilings" if on_disk else "none",
        eviction="noeviction",
        replicas=0,
        functions=False,
        latency=latency,
    )


def _ask(*words: str) -> Steps[Any]:
    """Ask one question; None where the server refuses it."""
    try:
        return (yield "_execute", (words,))
    except (AuthError, ServerError):
        return None


def _clock() -> Steps[float | None]:
    """Tell how far the server's clock is ahead, give or take half a round trip."""
    before = time.time()
    told = yield from _ask("TIME")
    if told is None:
        return None
    seconds = int(told[0]) + int(told[1]) / 1e6
    return round(seconds - (before + time.time()) / 2, 6)


# --- reading answers ----------------------------------------------------------------


def text_of(value: Any) -> str:
    """Return a word of an answer as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def parse_info(reply: Any) -> dict[str, str]:
    """Read the lines of INFO; nothing of an answer that is none."""
    lines = text_of(reply).splitlines() if isinstance(reply, (bytes, str)) else []
    cut = (line.partition(":") for line in lines if not line.startswith("#"))
    return {name: value.strip() for name, mark, value in cut if mark}


def pairs(reply: Any) -> dict[str, str]:
    """Read a map, or the flat list that RESP2 makes of one."""
    if isinstance(reply, dict):
        return {text_of(name): text_of(value) for name, value in reply.items()}
    if isinstance(reply, list):
        words = [text_of(word) for word in reply]
        return dict(zip(words[::2], words[1::2], strict=False))
    return {}


def number(info: Mapping[str, str], name: str) -> int | None:
    """Return a number of INFO, None if it is not there."""
    text = info.get(name, "")
    return int(text) if text.isdecimal() else None


def software_of(info: Mapping[str, str]) -> tuple[str, str]:
    """Return what the server is and its version, and not what it imitates."""
    for name in ("valkey", "redict"):
        if version := info.get(f"{name}_version"):
            return name, version
    version = info.get("redis_version", "")
    return (info.get("server_name", "redis"), version) if version else ("", "")


def role_of(info: Mapping[str, str]) -> str:
    """Return the role in our words, empty if it is not told."""
    role = info.get("role", "")
    return {"master": "primary", "slave": "replica"}.get(role, role)


def persistence_of(
    info: Mapping[str, str], appends: Mapping[str, str], saves: Mapping[str, str]
) -> str:
    """Say in words what the server keeps on its disk, empty if it does not tell."""
    if not info.get("aof_enabled") and "appendonly" not in appends:
        return ""
    kept: list[str] = []
    if info.get("aof_enabled") == "1" or appends.get("appendonly") == "yes":
        kept.append(f"aof {appends.get('appendfsync', '')}".strip())
    if saves.get("save"):
        kept.append("rdb")
    if not kept and "save" not in saves:
        return ""  # perhaps snapshots, perhaps nothing: CONFIG is hidden
    return " + ".join(kept) or "none"


def _functions_of(engines: Any, version: str) -> bool | None:
    """Tell whether the server runs functions in Lua: a module of it in new Valkeys."""
    if engines is not None:
        found = pairs(engines).get("engines", "")
        return "LUA" in found.upper()
    major = version.partition(".")[0]
    return int(major) >= 7 if major.isdecimal() else None
