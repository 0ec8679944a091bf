"""`check_backend`: does a backend keep the contract of `seqcache.Backend`?"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from ..backends import find_backend
from ..config import Config
from ..errors import ConfigError
from . import _rules
from ._blocking import Blocking, as_blocking
from ._rules import Probe

if TYPE_CHECKING:
    from ..backends import AsyncBackend, Backend

__all__ = ["check_backend"]

Target: TypeAlias = "str | Callable[[], Backend | AsyncBackend]"
Spoil: TypeAlias = Callable[[bytes], None]
Outage: TypeAlias = Callable[[], AbstractContextManager[Any]]


def check_backend(
    target: Target, *, spoil: Spoil | None = None, outage: Outage | None = None
) -> None:
    """Check a backend against each rule of the contract; report all that it breaks.

    It works on keys of its own, under a random prefix, and leaves them behind. Use
    it in a test, or anywhere else::

        def test_my_backend():
            check_backend("my://localhost/test")

    Parameters
    ----------
    target:
        A URL of a registered scheme, or a function without arguments that returns a
        `Backend` or an `AsyncBackend`. It is opened once and closed at the end.
    spoil:
        Called with a key (bytes); makes that key hold something that is no sequence,
        by the store's own means. Without it the errors of single keys are checked by
        overflows only.
    outage:
        Returns a context manager, inside of which the store cannot be reached.
        Without it the behaviour in a failure is not checked.

    Raises
    ------
    AssertionError
        With one line for each rule that is broken.
    ConfigError
        If nobody serves the scheme of the URL.
    """
    backend = as_blocking(_factory(target))
    try:
        broken = list(_broken_rules(backend, spoil, outage))
        broken += filter(None, [_failure("close", _rules.check_close, backend)])
    finally:
        backend.stop()
    if broken:
        rows = "\n".join(f"- {row}" for row in broken)
        raise AssertionError(f"the backend breaks {len(broken)} rule(s):\n{rows}")


def _factory(target: Target) -> Callable[[], Any]:
    if not isinstance(target, str):
        return target
    config = Config(target)
    factory = find_backend(config.location.scheme)
    if factory is None:
        raise ConfigError(
            f"{config.location.scheme}:// is not a third party's scheme",
            option="url",
            hint="pass a function that makes the backend",
        )
    return lambda: factory(config)


def _broken_rules(backend: Blocking, spoil: Spoil | None, outage: Outage | None) -> Any:
    run = b"check-backend:" + os.urandom(6).hex().encode()
    for name, rule in _rules.RULES.items():
        probe = Probe(backend, run + b":" + name.encode() + b":")
        yield from filter(None, [_failure(name, rule, probe)])
    if spoil is not None:
        probe = Probe(backend, run + b":spoil:")
        row = _failure("wrong type", _rules.check_spoiled, probe, spoil)
        yield from filter(None, [row])
    if outage is not None:
        probe = Probe(backend, run + b":outage:")
        row = _failure("outage", _rules.check_outage, probe, outage)
        yield from filter(None, [row])


def _failure(name: str, rule: Callable[..., None], *args: Any) -> str | None:
    """Run one rule; return what is wrong, None if nothing is."""
    try:
        rule(*args)
    except AssertionError as error:
        return f"{name}: {error}"
    except Exception as error:
        return f"{name}: raised {type(error).__name__}: {error}"
    return None
