"""The interpreter's own asyncio tests, run on seqcache's awaitable.

`python -m tests.asyncio_suite` runs them all on the running Python: see
docs/awaitable.md.
"""
