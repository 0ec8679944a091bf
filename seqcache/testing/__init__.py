"""For tests: what the fixtures of the pytest plugin are, and `check_backend`.

`check_backend` is the conformance suite of third parties' backends.
"""

from ._check import check_backend
from ._faults import Fault, Faults
from ._opened import AsyncCaches, Caches
from ._server import Server

__all__ = ["AsyncCaches", "Caches", "Fault", "Faults", "Server", "check_backend"]
