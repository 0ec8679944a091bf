"""The keywords of `cache`, `acache` and `Config`, for type checkers alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias, TypedDict

Credentials: TypeAlias = tuple[str | None, str]
AskCredentials: TypeAlias = Callable[[], Credentials | Awaitable[Credentials]]


class Fields(TypedDict, total=False):
    """Each field of `Config` but ``url``, and redis-py's names for them.

    tests/typing/test_typing.py compares them with `Config`.
    """

    username: str | None
    password: str | None
    db: int
    prefix: str | bytes
    timeout: float | None
    connect_timeout: float
    startup_timeout: float
    max_pending: int
    retry: Literal["safe", "gap", "never"]
    credentials: AskCredentials | None
    protocol: Literal[2, 3]
    client_name: str
    on_regress: Literal["off", "warn", "raise"]
    connections: int
    token_ttl: int
    ceilings: Any
    deployment: str
    step: int
    fence: Literal["lease", "connection"]
    fence_time: float
    socket_timeout: float | None
    socket_connect_timeout: float


class Overrides(Fields, total=False):
    """What goes before a configuration: its fields, or another URL."""

    url: str
