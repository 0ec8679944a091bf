"""Opens connections: name lookup, TCP or unix socket, handshake.

Both faces get a connected, authenticated, non-blocking socket whose server is a
primary. Deadlines are values of ``time.monotonic()``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time

from . import _credentials
from ._handshake import Talk
from ._lookup import addresses as _addresses
from ._lookup import addresses_asyncio as _addresses_asyncio
from .errors import ConnectError, StartupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._handshake import Codec, Hello
    from ._lookup import Address
    from .config import Config

    OnHello = Callable[[Hello], object] | None
    Stop = Callable[[], bool] | None

_FOREVER = 1e6  # seconds; what every system call takes
_SLICE_S = 0.05  # how long a wait goes on without looking at `stop`
_RECEIVE = 65536
# With timeout=None the kernel alone finds that unanswered bytes go nowhere.
_USER_TIMEOUT_S = 30.0
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LAST_PAUSE_S = 0.05, 1.0, 0.05

_HINTS: tuple[tuple[type[OSError], str], ...] = (
    (ConnectionRefusedError, "is the server running, and is the port right?"),
    (socket.gaierror, "is the host name right?"),
    (FileNotFoundError, "is the server running with this unixsocket?"),
    (PermissionError, "may this user open the socket (unixsocketperm)?"),
    (TimeoutError, "a firewall, or a wrong address? connect_timeout allows more time"),
)


def open_blocking(
    config: Config,
    deadline: float | None = None,
    *,
    on_hello: OnHello = None,
    stop: Stop = None,
) -> socket.socket:
    """Connect and shake hands; return the socket, set to non-blocking.

    The ``credentials`` callable cannot be interrupted and may outlast the deadline;
    Ctrl-C ends everything else at once.

    Parameters
    ----------
    config:
        Where to, and who we are. Its kind is ``tcp`` or ``unix``.
    deadline:
        Latest end, or None; ``connect_timeout`` from now is the latest in any case.
    on_hello:
        Gets the `Hello` of the server.
    stop:
        Asked every 50 ms while it waits; true gives the attempt up.

    Raises
    ------
    AuthError
        If the credentials are refused.
    ConnectError
        For everything else, with host, port and cause.
    """
    end = _end(config, deadline)
    talk = Talk(config, _credentials.ask(config), _codec())
    sock = _dial(config, end, stop)
    try:
        _converse(sock, config, talk, end, stop)
        if on_hello is not None:
            on_hello(talk.hello)
    except BaseException:
        sock.close()
        raise
    return sock


async def open_asyncio(
    config: Config, deadline: float | None = None, *, on_hello: OnHello = None
) -> socket.socket:
    """Do as `open_blocking` on the running loop, stock asyncio or uvloop.

    The deadline holds for the name lookup and ``credentials`` too, which run in
    threads. A cancelled call closes its socket.
    """
    import asyncio

    end = _end(config, deadline)
    phase = ["the start"]
    try:
        async with asyncio.timeout(_left(end)):
            return await _open_asyncio(config, end, phase, on_hello)
    except TimeoutError as error:
        raise _late(config, phase[0]) from error


async def _open_asyncio(
    config: Config, end: float, phase: list[str], on_hello: OnHello
) -> socket.socket:
    import asyncio

    loop = asyncio.get_running_loop()
    phase[0] = "the credentials callable"
    talk = Talk(config, await _credentials.ask_asyncio(config), _codec())
    phase[0] = "the connection"
    sock = await _dial_asyncio(config, loop, end)
    try:
        phase[0] = "an answer to the handshake"
        out: bytes | None = talk.begin()
        while out is not None:
            try:
                with contextlib.suppress(ConnectionError):  # it may have said why
                    await loop.sock_sendall(sock, out)
                data = await loop.sock_recv(sock, _RECEIVE)
            except OSError as error:
                raise talk.lost() from error
            if not data:
                raise talk.lost()
            out = talk.feed(data)
        if on_hello is not None:
            on_hello(talk.hello)
    except BaseException:
        sock.close()
        raise
    return sock


# --- the factory's first connect ----------------------------------------------


def startup_blocking(config: Config, *, on_hello: OnHello = None) -> socket.socket:
    """Open the first connection, trying for ``startup_timeout``.

    At least one attempt is made, with ``connect_timeout``; later ones end with
    ``startup_timeout``. AuthError and ConfigError are raised at once.

    Raises
    ------
    AuthError
        If the credentials are refused.
    StartupError
        For everything else; the cause is chained.
    """
    patience = _Patience(config)
    while True:
        try:
            return open_blocking(config, patience.deadline(), on_hello=on_hello)
        except ConnectError as error:
            pause = patience.pause(error)
        time.sleep(pause)


async def startup_asyncio(config: Config, *, on_hello: OnHello = None) -> socket.socket:
    """Do as `startup_blocking` on the running loop."""
    import asyncio

    patience = _Patience(config)
    while True:
        try:
            return await open_asyncio(config, patience.deadline(), on_hello=on_hello)
        except ConnectError as error:
            pause = patience.pause(error)
        await asyncio.sleep(pause)


class _Patience:
    """How long the factory tries, and how long it waits between attempts."""

    def __init__(self, config: Config) -> None:
        self._start = time.monotonic()
        self._end = self._start + config.startup_timeout
        self._tries = 0

    def deadline(self) -> float | None:
        return self._end if self._tries else None

    def pause(self, error: ConnectError) -> float:
        """Return the seconds to wait, or raise StartupError if time is up."""
        import random

        self._tries += 1
        longest = min(_FIRST_PAUSE_S * 2.0 ** min(self._tries, 10), _LONGEST_PAUSE_S)
        left = _left(self._end)
        if left > _LAST_PAUSE_S:  # one more attempt fits in before the end
            return min(longest * random.uniform(0.5, 1.0), left - _LAST_PAUSE_S)
        message = str(error.args[0])
        if self._tries > 1:
            spent = time.monotonic() - self._start
            message += f" ({self._tries} attempts in {spent:.1f} s)"
        raise StartupError(message, hint=error.hint) from (error.__cause__ or error)


# --- sockets ---------------------------------------------------------------------


def _wait(sock: socket.socket, events: int, end: float, stop: Stop) -> None:
    """Wait until the socket is ready; TimeoutError at the end."""
    poll = select.poll()
    poll.register(sock, events)
    while True:
        left = _left(end)
        _heed(stop)
        if poll.poll(max(0.0, min(left, _SLICE_S)) * 1000):
            return
        if left <= 0:
            raise TimeoutError("timed out")


def _heed(stop: Stop) -> None:
    if stop is not None and stop():
        raise ConnectError("the cache was closed while it connected")


def _pauses(config: Config, end: float, stop: Stop) -> Callable[[], float]:
    """Return what tells how long to wait for a name, or raises when that is over."""

    def pause() -> float:
        _heed(stop)
        if (left := _left(end)) <= 0:
            raise _late(config, "the name lookup")
        return min(left, _SLICE_S)

    return pause


def _reach(sock: socket.socket, address: Any, share: float, stop: Stop) -> None:
    """Connect a non-blocking socket, in at most `share` seconds."""
    code = sock.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EAGAIN, errno.EINTR):
        # EAGAIN is a unix socket with a full backlog, which is not told when there
        # is room: it counts as refused at the end of the share.
        _wait(sock, select.POLLOUT, time.monotonic() + share, stop)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _dial(config: Config, end: float, stop: Stop) -> socket.socket:
    """Try each address of the host until one accepts."""
    error: OSError = TimeoutError("timed out")
    try:
        addresses = _addresses(config.location, _pauses(config, end, stop))
    except OSError as failed:
        if isinstance(failed, ConnectError):
            raise
        raise _unreachable(config, failed) from failed
    for (family, kind, proto, address), share in _shares(addresses, end):
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, kind, proto)
            sock.setblocking(False)
            _reach(sock, address, share, stop)
            return _tuned(sock, config)
        except BaseException as failed:
            if sock is not None:
                sock.close()
            if isinstance(failed, ConnectError) or not isinstance(failed, OSError):
                raise
            error = failed
    raise _unreachable(config, error) from error


async def _dial_asyncio(config: Config, loop: Any, end: float) -> socket.socket:
    import asyncio

    error: OSError = TimeoutError("timed out")
    try:
        addresses = await _addresses_asyncio(config.location, loop)
    except OSError as failed:
        raise _unreachable(config, failed) from failed
    for (family, kind, proto, address), share in _shares(addresses, end):
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, kind, proto)
            sock.setblocking(False)
            async with asyncio.timeout(share):
                await loop.sock_connect(sock, address)
            return _tuned(sock, config)
        except OSError as failed:  # TimeoutError is one
            error = failed
            if sock is not None:
                sock.close()
        except BaseException:
            if sock is not None:
                sock.close()
            raise
    raise _unreachable(config, error) from error


def _shares(addresses: list[Address], end: float) -> Iterator[tuple[Address, float]]:
    """Give each address an equal part of what is left: one may be a black hole."""
    for index, address in enumerate(addresses):
        left = _left(end)
        if left <= 0:
            return
        yield address, left / (len(addresses) - index)


def _tuned(sock: socket.socket, config: Config) -> socket.socket:
    """Set the options of a TCP connection; refuse one that met itself."""
    if sock.family == socket.AF_UNIX:
        return sock
    if sock.getsockname() == sock.getpeername():
        # Retrying an ephemeral port of this machine can connect a socket to itself.
        raise ConnectionRefusedError("nobody listens: connected to itself")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    limit = _USER_TIMEOUT_S if config.timeout is None else max(config.timeout, 1.0)
    options = [*_KEEPALIVE, ("TCP_USER_TIMEOUT", int(min(limit, _FOREVER) * 1000))]
    for name, value in options:
        option = getattr(socket, name, None)  # Linux has them all
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


def _converse(
    sock: socket.socket, config: Config, talk: Talk, end: float, stop: Stop
) -> None:
    """Move a handshake's bytes; what we say fits into the socket's buffer."""
    out: bytes | None = talk.begin()
    while out is not None:
        left = _left(end)
        if left <= 0:
            raise _late(config, "an answer to the handshake")
        try:
            with contextlib.suppress(ConnectionError):  # it may have said why
                sock.sendall(out)
            _wait(sock, select.POLLIN, end, stop)
            data = sock.recv(_RECEIVE)
        except ConnectError:
            raise
        except TimeoutError as error:
            raise _late(config, "an answer to the handshake") from error
        except OSError as error:
            raise talk.lost() from error
        if not data:
            raise talk.lost()
        out = talk.feed(data)


# --- time and errors ---------------------------------------------------------------


def _end(config: Config, deadline: float | None) -> float:
    end = time.monotonic() + min(config.connect_timeout, _FOREVER)
    return end if deadline is None else min(end, deadline)


def _left(end: float) -> float:
    return end - time.monotonic()


def _unreachable(config: Config, error: OSError) -> ConnectError:
    hint = next((text for kind, text in _HINTS if isinstance(error, kind)), None)
    if isinstance(error, TimeoutError) and not error.errno:
        return _late(config, "the connection")
    reason = error.strerror or str(error) or type(error).__name__
    if isinstance(error, socket.gaierror):
        reason = f"name lookup failed: {reason}"
    elif error.errno:
        reason = os.strerror(error.errno)  # event loops write texts of their own
    return ConnectError(f"cannot connect to {config.address}: {reason}", hint=hint)


def _late(config: Config, what: str) -> ConnectError:
    return ConnectError(
        f"cannot connect to {config.address}: no time left for {what} "
        f"(connect_timeout={config.connect_timeout:g} s, or the call's deadline)",
        hint=_HINTS[-1][1],
    )


def _codec() -> Codec:
    from . import _native

    codec: Codec = _native.Codec()
    return codec
