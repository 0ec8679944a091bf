"""Increasing 64-bit numbers for users, in Redis: right, then fast, then a joy to use.

>>> import seqcache
>>> cache = seqcache.cache("memory://")
>>> cache.increase_seq("alice")
1
>>> cache.get_seq("alice")
1

(PYTEST_DONT_REWRITE: the package has a pytest plugin, and nothing to rewrite for it.)
"""

from ._cache import SeqCache, cache
from ._common import Stats
from .errors import (
    AuthError,
    BulkError,
    BusyError,
    CallTimeout,
    CeilingError,
    ClosedError,
    ConfigError,
    ConnectError,
    NotASequence,
    OutcomeUnknown,
    ProtocolError,
    SeqCacheError,
    SequenceOverflow,
    SequenceRegressed,
    ServerError,
    StartupError,
    TokenConflict,
    UserIdError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._acache import AsyncSeqCache, acache
    from ._alease import AsyncLease
    from ._health import Health
    from ._lease import Lease
    from ._tally import ExportReport, ImportReport
    from .backends import AsyncBackend, Backend, register_backend
    from .config import Config

__version__ = "0.1.0"

# Loaded when somebody asks for them: half of the time of the import.
_LATER = {
    "AsyncBackend": "backends",
    "AsyncLease": "_alease",
    "AsyncSeqCache": "_acache",
    "Backend": "backends",
    "Config": "config",
    "ExportReport": "_tally",
    "Health": "_health",
    "ImportReport": "_tally",
    "Lease": "_lease",
    "acache": "_acache",
    "register_backend": "backends",
}

__all__ = [
    "AsyncBackend",
    "AsyncLease",
    "AsyncSeqCache",
    "AuthError",
    "Backend",
    "BulkError",
    "BusyError",
    "CallTimeout",
    "CeilingError",
    "ClosedError",
    "Config",
    "ConfigError",
    "ConnectError",
    "ExportReport",
    "Health",
    "ImportReport",
    "Lease",
    "NotASequence",
    "OutcomeUnknown",
    "ProtocolError",
    "SeqCache",
    "SeqCacheError",
    "SequenceOverflow",
    "SequenceRegressed",
    "ServerError",
    "StartupError",
    "Stats",
    "TokenConflict",
    "UserIdError",
    "__version__",
    "acache",
    "cache",
    "register_backend",
]

if not TYPE_CHECKING:  # or every name would be known to type checkers

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})
