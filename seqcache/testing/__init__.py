"""For tests: `check_backend`, the conformance suite of third parties' backends."""

from ._check import check_backend

__all__ = ["check_backend"]
