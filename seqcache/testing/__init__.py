"""For tests: fakes, faults, what the pytest plugin's fixtures are, `check_backend`.

`fake` and `afake` stand in for caches in unit tests, `Faults` stands before a real
server, and `check_backend` is the conformance suite of third parties' backends.
"""

from ._check import check_backend
from ._fake import AsyncFakeCache, FakeCache, afake, fake
from ._faults import Fault, Faults
from ._opened import AsyncCaches, Caches
from ._server import Server

__all__ = [
    "AsyncCaches",
    "AsyncFakeCache",
    "Caches",
    "FakeCache",
    "Fault",
    "Faults",
    "Server",
    "afake",
    "check_backend",
    "fake",
]
