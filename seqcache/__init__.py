"""Increasing 64-bit numbers for users, in Redis: right, then fast, then a joy to use.

>>> import seqcache
>>> cache = seqcache.cache("memory://")
>>> cache.increase_seq("alice")
1
>>> cache.get_seq("alice")
1
"""

from ._acache import AsyncSeqCache, acache
from ._cache import SeqCache, cache
from ._common import Stats
from .backends import AsyncBackend, Backend, register_backend
from .config import Config
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

__version__ = "0.1.0"

__all__ = [
    "AsyncBackend",
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
