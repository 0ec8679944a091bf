"""Name lookup: from a host to the addresses to try, in order."""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._urls import Location

    Address = tuple[Any, Any, int, Any]  # family, type, protocol, address


def addresses(where: Location, pause: Callable[[], float]) -> list[Address]:
    """Look the host up; the system's resolver knows no deadline, so we keep it.

    A name goes to a thread of its own, whose answer is dropped if it comes too late.
    It is a daemon, so that it holds up no exit.

    Parameters
    ----------
    where:
        A unix socket, or a host and a port.
    pause:
        Returns for how many seconds to wait, or raises when that is over.

    Raises
    ------
    OSError
        If there is no such name, and what `pause` raises.
    """
    if where.kind == "unix":
        return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, where.path)]
    if _is_numeric(where.host):
        return _ask(where)
    import threading

    found: list[list[Address] | BaseException] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            found.append(_ask(where))
        except BaseException as failed:  # raised again by who waits
            found.append(failed)
        done.set()

    threading.Thread(target=look_up, name="seqcache-lookup", daemon=True).start()
    while not done.wait(pause()):
        pass
    answer = found[0]
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def addresses_asyncio(where: Location, loop: Any) -> list[Address]:
    """Do as `addresses`; the caller keeps the deadline."""
    if where.kind == "unix":
        return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, where.path)]
    try:
        found = await loop.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return _plain(found)


def _ask(where: Location) -> list[Address]:
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that no host name can have
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return _plain(found)


def _plain(found: Any) -> list[Address]:
    return [(family, kind, proto, at) for family, kind, proto, _, at in found]


def _is_numeric(host: str | None) -> bool:
    """Whether the host is an address already: then nobody is asked."""
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True
