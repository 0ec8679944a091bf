"""The server functions for tests: called directly, and without a chosen rule.

`library("R7")` is the text of functions.lua in which rule R7 of DURABLE.md is
switched off: a directed test must break with it, else it proves nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import resp
from servers import Server

SOURCE = Path(__file__).parents[2] / "seqcache" / "durable" / "functions.lua"

# rule: the passages of functions.lua that enforce it, and what replaces them
WITHOUT: dict[str, list[tuple[str, str]]] = {
    "R1": [("if not challenge or challenge ~= args[2] then", "if epoch then")],
    "R2": [
        (
            "if not marker or marker.token ~= epoch or marker.nonce ~= args[2] then",
            "if parse_cell(redis.call('GET', keys[2]) or '') then",
        )
    ],
    "R3": [("or cell.token ~= epoch or cell.gid ~= args[2] then", "then")],
    "R4": [
        ("if token ~= epoch then", "if not epoch then epoch = token end if false then")
    ],
    "R7 missing": [
        (
            "return value == 0 or value < cell.base or (last",
            "return (last",
        )
    ],
    "R7 last": [
        ("(last and value ~= last)", "false"),
        (
            "if counted == number then",
            "number = counted if type(counted) == 'number' then",
        ),
    ],
    "R8 never below": [("if last and tonumber(last) > floor then", "if last then")],
    "R8 never kept": [("if last and tonumber(last) > floor then", "if false then")],
    "R9": [("  if id ~= replid then", "  if not replid then")],
}
WITHOUT["R7"] = WITHOUT["R7 missing"] + WITHOUT["R7 last"]


def library(*without: str) -> str:
    """Text of the library with the named rules switched off."""
    text = SOURCE.read_text()
    for rule in without:
        for old, new in WITHOUT[rule]:
            assert text.count(old) == 1 or rule == "R7", (rule, old)
            assert old in text, (rule, old)
            text = text.replace(old, new)
    return text


def load(server: Server, *without: str) -> None:
    """Load the library into a server that has none."""
    server.admin("FUNCTION", "LOAD", library(*without))


def meta_key(key: str) -> str:
    """Where the cell of a counter lives."""
    return f"sqc:b:{key}" if "{" in key else f"sqc:m:{{{key}}}"


def record_key(key: str, token: str) -> str:
    """Where the record of a token lives."""
    tag = key if "{" in key else f"{{{key}}}"
    return f"sqc:t:{len(key)}:{tag}:{token}"


class Functions:
    """One connection that calls the functions by name."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self.link = resp.Resp(address)

    def __enter__(self) -> Functions:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.link.close()

    def ask(self, *args: bytes | str | int) -> Any:
        """Any command; text instead of bytes in the answer."""
        return plain(self.link.ask(*args))

    def call(self, name: str, keys: tuple[str, ...], *args: str | int) -> Any:
        """One FCALL; text instead of bytes in the answer."""
        return self.ask("FCALL", name, len(keys), *keys, *args)

    def begin(self, token: str, rnd: str = "r", old: str = "") -> Any:
        """Open and begin an epoch; its run_id."""
        answer = self.call("seq_open", (), rnd, old)
        assert answer[0] == "go", answer
        assert self.call("seq_begin", (), token, rnd) == ["ok"]
        return answer[1]

    def grant(
        self,
        key: str,
        epoch: str,
        gid: str,
        base: int,
        ceiling: int,
        issue: int = 0,
        low: int | None = None,
        floor: int | None = None,
    ) -> Any:
        """Mark and install a block; what the install answered."""
        marked = self.call("seq_mark", (key, meta_key(key)), epoch, gid)
        assert marked[0] == "ok", marked
        return self.install(key, epoch, gid, base, ceiling, issue, low, floor)

    def install(
        self,
        key: str,
        epoch: str,
        gid: str,
        base: int,
        ceiling: int,
        issue: int = 0,
        low: int | None = None,
        floor: int | None = None,
        token: str | None = None,
    ) -> Any:
        """Install a block over the marker that carries gid."""
        keys = (key, meta_key(key)) + ((record_key(key, token),) if token else ())
        low = ceiling + 1 if low is None else low
        floor = base if floor is None else floor
        return self.call(
            "seq_install", keys, epoch, gid, base, ceiling, low, floor, issue, 600
        )

    def incr(
        self, key: str, epoch: str, by: int = 1, token: str | None = None, v: str = ""
    ) -> Any:
        """seq_incr, with a record if there is a token."""
        keys = (key, meta_key(key)) + ((record_key(key, token),) if token else ())
        return self.call("seq_incr", keys, epoch, by, v, 600)

    def get(self, key: str, epoch: str, v: str = "") -> Any:
        """seq_get."""
        return self.call("seq_get", (key, meta_key(key)), epoch, 0, v)

    def raise_to(self, key: str, epoch: str, to: int) -> Any:
        """seq_raise."""
        return self.call("seq_raise", (key, meta_key(key)), epoch, to)


def plain(answer: Any) -> Any:
    """Bytes as text, at any depth."""
    if isinstance(answer, bytes):
        return answer.decode()
    if isinstance(answer, list):
        return [plain(element) for element in answer]
    return answer
