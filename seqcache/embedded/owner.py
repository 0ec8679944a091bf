"""One process owns a file of ceilings: by a lock of the operating system beside it.

The lock ends with the process, whatever ends that, and it is no child's.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time

from ..errors import StartupError

#: Seconds in which an owner has written its number.
WRITING = 0.2


class Owner:
    """The right to write a file, from its making until `release`.

    Parameters
    ----------
    path:
        The file, without symbolic links; the lock is on ``<path>.lock``.

    Raises
    ------
    StartupError
        If another process has it; its number is named.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._beside = f"{path}.lock"
        self._fd = -1
        if not self._take():
            raise StartupError(
                f"{path} is owned by {self._other()}",
                hint="one process gives the numbers of a file: close the cache"
                " there, or use a server for many processes",
            )

    def _take(self) -> bool:
        try:
            fd = os.open(self._beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StartupError(
                f"cannot open {self._beside}: {error.strerror}",
                hint="the folder must exist, and we must be allowed to write there",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as error:
            os.close(fd)
            raise StartupError(
                f"cannot lock {self._beside}: {error.strerror}",
                hint="it must lie on a local disk",
            ) from error
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()} {socket.gethostname()}\n".encode())
        self._fd = fd
        return True

    def _other(self) -> str:
        """Name the owner; it may be about to write its number."""
        end = time.monotonic() + WRITING
        while True:
            try:
                with open(self._beside, encoding="utf-8", errors="replace") as file:
                    pid, _, host = file.read(300).partition(" ")
            except OSError:
                pid = host = ""
            if host.endswith("\n") or time.monotonic() >= end:
                break
            time.sleep(0.01)
        if not host.endswith("\n"):
            return "another process"
        here = host.strip() == socket.gethostname()
        return f"process {pid}" + ("" if here else f" on {host.strip()}")

    def release(self) -> None:
        """Let others have it. In a forked child: the parent keeps it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
