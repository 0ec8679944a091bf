"""What instrumentors have in common, for where opentelemetry-instrumentation is not."""

from __future__ import annotations

from ..._log import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self


class BaseInstrumentor:
    """One object for the process; `instrument` and `uninstrument` work in turns."""

    _instance: Self | None = None
    _on = False

    def __new__(cls) -> Self:
        """Return the only one."""
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Whether it is on."""
        return self._on

    def instrument(self, **options: Any) -> None:
        """Turn it on; a second time it only warns."""
        if self._on:
            _warn("instrument while already instrumented")
        else:
            self._instrument(**options)
            self._on = True

    def uninstrument(self, **options: Any) -> None:
        """Turn it off; a second time it only warns."""
        if self._on:
            self._uninstrument(**options)
            self._on = False
        else:
            _warn("uninstrument while already uninstrumented")

    def _instrument(self, **options: Any) -> None:
        raise NotImplementedError

    def _uninstrument(self, **options: Any) -> None:
        raise NotImplementedError


def _warn(what: str) -> None:
    logger.warning("Attempting to %s", what)
