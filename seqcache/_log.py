"""The logger `seqcache`: what is said at INFO or above names no user id.

Ids are said at DEBUG. Secrets are said nowhere: no error has one in its text.
"""

from __future__ import annotations

import logging

from .errors import CeilingError

logger = logging.getLogger("seqcache")


def background_failed(error: BaseException) -> None:
    """Tell of work that nobody waits for: the kind of error, at DEBUG its text."""
    told = type(error).__name__
    if isinstance(error, CeilingError):
        # Only what the database said for all keys names none.
        told = (
            str(error) if error.reason == "unavailable" else f"{told}, {error.reason}"
        )
    logger.warning("background work failed: %s", told)
    logger.debug("background work failed", exc_info=error)
