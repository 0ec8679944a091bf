"""What an operator does with a cache: export, import, health; for both faces."""

from __future__ import annotations

from ._common import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from . import _native
    from ._files import File
    from ._health import Health
    from ._native import Awaitable
    from ._tally import ExportReport, ImportReport
    from ._transfer import Progress


class Admin:
    """The operator's methods of the blocking face."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _engine(self) -> _native.Engine: ...

    def export_seqs(
        self,
        file: File,
        *,
        progress: Progress = None,
        timeout: float | None = DEFAULT,
    ) -> ExportReport:
        """Write the sequences of this prefix to a file.

        In durable mode the numbers are verified; elsewhere they are those of `scan`.

        Parameters
        ----------
        file:
            A path, or an open file. A name that ends with ``.csv`` makes CSV
            (``user_id,seq,user_id_base64``), any other JSON lines
            (``{"user_id": "alice", "seq": 5}``); ``.gz`` behind that compresses. A
            path appears when the export is complete.
        progress:
            Called after each batch of 1000 with the rows written, and None, since
            nobody knows how many there will be.
        timeout:
            Seconds for each page.

        Returns
        -------
        How many rows were ``written``; an id perhaps more than once, as by `scan`.
        """
        from . import _transfer

        words = {} if timeout is DEFAULT else {"timeout": timeout}
        return _transfer.export_blocking(self, file, progress, words)

    def import_seqs(
        self,
        file: File,
        dry_run: bool = False,
        *,
        progress: Progress = None,
        timeout: float | None = DEFAULT,
    ) -> ImportReport:
        """Raise sequences to the numbers in a file; none is lowered.

        It may be interrupted and started again at any time. Rows that cannot be used
        are told in the report and do not stop it.

        Parameters
        ----------
        file:
            A path, or an open file, as `export_seqs` writes it. CSV needs no head: its
            columns are the id and the number.
        dry_run:
            Look what would be raised, and change nothing.
        progress:
            Called after each batch of rows (1000, less in durable mode) with the
            lines read, and the lines of the file if it can be counted, else None.
        timeout:
            Seconds for each request of a batch.

        Returns
        -------
        The rows ``read``: those ``raised``, those where the server was already
        ``ahead``, and the ``bad`` ones with line number and reason.
        """
        from . import _transfer

        words = {} if timeout is DEFAULT else {"timeout": timeout}
        return _transfer.import_blocking(self, file, dry_run, progress, words)

    def health(self, *, timeout: float | None = DEFAULT) -> Health:
        """Ask the server how it is; it changes nothing.

        Parameters
        ----------
        timeout:
            Seconds for each of about ten questions.

        Returns
        -------
        A `Health`: role, version, persistence, eviction, replicas, latency, clock,
        whether it runs functions. What its ACL hides is empty or None there.
        """
        from ._health import examine
        from ._steps import carry_out

        words = {} if timeout is DEFAULT else {"timeout": timeout}
        return carry_out(examine(self, self._engine.where), self, words)


class AsyncAdmin:
    """The operator's methods of the asyncio face."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _engine(self) -> _native.Engine: ...

        def _start(
            self, method: str, work: Callable[[], Coroutine[Any, Any, Any]]
        ) -> Awaitable[Any]: ...

    def export_seqs(
        self,
        file: File,
        *,
        progress: Progress = None,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - of each page
    ) -> Awaitable[ExportReport]:
        """Write the sequences of this prefix to a file, which a thread does.

        In durable mode the numbers are verified; elsewhere they are those of `scan`.

        Parameters
        ----------
        file:
            As for `SeqCache.export_seqs`.
        progress:
            Called in the loop after each batch of 1000 with the rows written, and
            None, since nobody knows how many there will be.
        timeout:
            Seconds for each page.

        Returns
        -------
        How many rows were ``written``; an id perhaps more than once, as by `scan`.
        """
        words = {} if timeout is DEFAULT else {"timeout": timeout}

        async def work() -> ExportReport:
            from . import _transfer

            return await _transfer.export_async(self, file, progress, words)

        return self._start("export_seqs", work)

    def import_seqs(
        self,
        file: File,
        dry_run: bool = False,
        *,
        progress: Progress = None,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - of each batch
    ) -> Awaitable[ImportReport]:
        """Raise sequences to the numbers in a file; none is lowered.

        It may be cancelled and started again at any time. Rows that cannot be used
        are told in the report and do not stop it. A thread reads the file.

        Parameters
        ----------
        file:
            As for `SeqCache.import_seqs`.
        dry_run:
            Look what would be raised, and change nothing.
        progress:
            Called in the loop after each batch of rows (1000, less in durable mode)
            with the lines read, and the lines of the file if it can be counted, else
            None.
        timeout:
            Seconds for each request of a batch.

        Returns
        -------
        The rows ``read``: those ``raised``, those where the server was already
        ``ahead``, and the ``bad`` ones with line number and reason.
        """
        words = {} if timeout is DEFAULT else {"timeout": timeout}

        async def work() -> ImportReport:
            from . import _transfer

            return await _transfer.import_async(self, file, dry_run, progress, words)

        return self._start("import_seqs", work)

    def health(
        self,
        *,
        timeout: float | None = DEFAULT,  # noqa: ASYNC109 - of each question
    ) -> Awaitable[Health]:
        """Ask the server how it is; it changes nothing.

        Parameters
        ----------
        timeout:
            Seconds for each of about ten questions.

        Returns
        -------
        A `Health`: role, version, persistence, eviction, replicas, latency, clock,
        whether it runs functions. What its ACL hides is empty or None there.
        """
        words = {} if timeout is DEFAULT else {"timeout": timeout}

        async def work() -> Health:
            from ._health import examine
            from ._steps import carry_out_async

            steps = examine(self, self._engine.where)
            return await carry_out_async(steps, self, words)

        return self._start("health", work)
