"""Export and import of sequences, on both faces.

An import compares each batch with what the server has, and raises what is lower.
It never lowers anything, so it may be interrupted and started again at any time:
what is there already costs one read. Nothing is remembered outside the server: a
server that lost numbers since would be believed to have them.
"""

from __future__ import annotations

from contextlib import closing
from itertools import islice

from ._common import BATCH
from ._files import Reader, Writer, count_lines
from ._steps import carry_out, carry_out_async
from ._tally import ExportReport, ImportReport, Tally, each_of
from .errors import AuthError, SeqCacheError, ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Sequence
    from typing import Any, TypeAlias

    from ._files import File
    from ._rows import Row
    from ._steps import Face, Steps
    from ._tally import Results

    Progress: TypeAlias = Callable[[int, int | None], object] | None
    Pair: TypeAlias = tuple[str | bytes, int]


class Import:
    """The steps of an import, without I/O; a face carries them out."""

    def __init__(self, face: Face, dry_run: bool) -> None:
        config = face.config
        self.tally = Tally(dry_run)
        self._prefix = face._prefix
        # One server's command; and durable mode has its own way to make a key.
        plain = config.location.kind in ("tcp", "unix")
        self._makes = plain and config.ceilings is None and not dry_run
        # Whether it is likely that no key of the next batch is there.
        self._are_new = True
        #: Rows of a batch: each new key of durable mode takes a few round trips.
        self.size = BATCH if config.ceilings is None else BATCH // 10

    def batch(self, rows: Sequence[Row]) -> Steps[None]:
        """Bring one batch of rows to the server."""
        tally = self.tally
        ids = tally.begin(rows)
        if self._makes and self._are_new:
            outcome = tally.compare(dict.fromkeys(ids, 0))
            self._are_new = yield from self._make(outcome.lift)
            if self._are_new:
                tally.count(outcome)
                return
        if not ids:
            return
        try:
            before: Results = yield "get_seqs", (ids,)
        except SeqCacheError as error:
            before = each_of(error, len(ids))
        known = dict(zip(ids, before, strict=True))
        outcome = tally.compare(known)
        failed = None if tally.dry_run else (yield from self._lift(outcome.lift, known))
        tally.count(outcome, failed)

    def _lift(
        self, lift: dict[bytes, int], known: dict[bytes, Any]
    ) -> Steps[dict[bytes, BaseException]]:
        """Raise ids; return why some could not be raised."""
        new = {one: seq for one, seq in lift.items() if known[one] == 0}
        self._are_new = len(new) == len(lift)
        if self._makes and len(new) > 1 and (yield from self._make(new)):
            lift = {one: seq for one, seq in lift.items() if one not in new}
        if not lift:
            return {}
        try:
            yield "_raise_batch", (list(lift.items()),)
        except SeqCacheError as error:
            results = zip(lift, each_of(error, len(lift)), strict=True)
            return {one: why for one, why in results if isinstance(why, BaseException)}
        return {}

    def _make(self, new: dict[bytes, int]) -> Steps[bool]:
        """Make keys that are not there, which is far faster than to raise them.

        MSETNX makes all of them or none: it never touches a number that is there.
        Returns whether it made them.
        """
        if not new:
            return False
        words: list[bytes | str | int] = ["MSETNX"]
        for one, seq in new.items():
            words += (self._prefix + one, seq)
        try:
            made = yield "_execute", (words,)
        except ServerError as error:
            if error.code != "ERR":  # a server that does not know it
                raise
            self._makes = False
        except AuthError:
            self._makes = False
        else:
            return made == 1  # type: ignore[no-any-return]
        return False


def import_blocking(
    face: Face, file: File, dry_run: bool, progress: Progress, words: dict[str, Any]
) -> ImportReport:
    """Import a file, in the caller's thread."""
    work = Import(face, dry_run)
    reader = Reader(file)
    try:
        total = count_lines(file) if progress is not None else None
        with closing(_batches(reader, work.size)) as batches:
            for rows, lines in batches:
                carry_out(work.batch(rows), face, words)
                if progress is not None:
                    progress(lines, total)
    except (SeqCacheError, OSError) as error:
        error.add_note(f"import: {work.tally.finished:,} rows were done before")
        raise
    finally:
        reader.close()
    return work.tally.report()


def _batches(reader: Reader, size: int) -> Generator[tuple[list[Row], int], None, None]:
    """Yield batches and the lines read by then.

    A thread parses the next one while this one waits for the server. Only of a
    regular file: what reads a pipe cannot be interrupted.
    """
    if not reader.is_regular:
        while rows := reader.batch(size):
            yield rows, reader.lines
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "seqcache-import") as pool:
        ahead = pool.submit(_next, reader, size)
        while (found := ahead.result())[0]:
            ahead = pool.submit(_next, reader, size)
            yield found


async def import_async(
    face: Face, file: File, dry_run: bool, progress: Progress, words: dict[str, Any]
) -> ImportReport:
    """Import a file; it is read in a thread, one batch ahead."""
    import asyncio

    work = Import(face, dry_run)
    reader = await asyncio.to_thread(Reader, file)
    ahead = None
    try:
        total = None
        if progress is not None:
            total = await asyncio.to_thread(count_lines, file)
        ahead = asyncio.ensure_future(asyncio.to_thread(_next, reader, work.size))
        while (found := await ahead)[0]:
            ahead = asyncio.ensure_future(asyncio.to_thread(_next, reader, work.size))
            await carry_out_async(work.batch(found[0]), face, words)
            if progress is not None:
                progress(found[1], total)
    except (SeqCacheError, OSError) as error:
        error.add_note(f"import: {work.tally.finished:,} rows were done before")
        raise
    finally:
        if ahead is not None and not ahead.done():
            await asyncio.wait([ahead])  # the file is in use until then
        reader.close()
    return work.tally.report()


def _next(reader: Reader, size: int) -> tuple[list[Row], int]:
    return reader.batch(size), reader.lines


# --- export ----------------------------------------------------------------------


def export_blocking(
    face: Face, file: File, progress: Progress, words: dict[str, Any]
) -> ExportReport:
    """Export the sequences of a prefix, in the caller's thread."""
    writer, written = Writer(file), 0
    try:
        found = iter(face.scan(**words))
        while pairs := list(islice(found, BATCH)):
            if face.config.ceilings is not None:  # a scan reads counters unverified
                ids = [one for one, _ in pairs]
                pairs = list(zip(ids, face.get_seqs(ids, **words), strict=True))
            writer.rows(pairs)
            written += len(pairs)
            if progress is not None:
                progress(written, None)
        writer.finish()
    finally:
        writer.close()
    return ExportReport(written)


async def export_async(
    face: Face, file: File, progress: Progress, words: dict[str, Any]
) -> ExportReport:
    """Export the sequences of a prefix; the file is written in a thread."""
    import asyncio

    writer, written = await asyncio.to_thread(Writer, file), 0
    try:
        async for pairs in _pages(face, words):
            await asyncio.to_thread(writer.rows, pairs)
            written += len(pairs)
            if progress is not None:
                progress(written, None)
        await asyncio.to_thread(writer.finish)
    finally:
        writer.close()
    return ExportReport(written)


async def _pages(face: Face, words: dict[str, Any]) -> AsyncIterator[list[Pair]]:
    pairs: list[Pair] = []
    async for pair in face.scan(**words):
        pairs.append(pair)
        if len(pairs) == BATCH:
            yield await _verified(face, pairs, words)
            pairs = []
    if pairs:
        yield await _verified(face, pairs, words)


async def _verified(face: Face, pairs: list[Pair], words: dict[str, Any]) -> list[Pair]:
    if face.config.ceilings is None:
        return pairs
    ids = [one for one, _ in pairs]
    return list(zip(ids, await face.get_seqs(ids, **words), strict=True))
