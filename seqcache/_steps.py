"""What takes several calls, written once for both faces.

A generator yields steps: the name of a method of the face, and its arguments. The
result of the call comes back into it, or the error is raised there.
"""

from __future__ import annotations

from .errors import SeqCacheError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, TypeAlias, TypeVar

    T = TypeVar("T")
    #: A SeqCache, or an AsyncSeqCache, whose calls are awaited.
    Face: TypeAlias = Any
    Step: TypeAlias = tuple[str, tuple[Any, ...]]
    Steps: TypeAlias = Generator[Step, Any, T]


def carry_out(steps: Steps[T], face: Face, words: dict[str, Any]) -> T:
    """Take the steps on the blocking face; `words` are keywords of each call."""
    try:
        name, arguments = next(steps)
        while True:
            try:
                result = getattr(face, name)(*arguments, **words)
            except SeqCacheError as error:
                name, arguments = steps.throw(error)
            else:
                name, arguments = steps.send(result)
    except StopIteration as done:
        answer: T = done.value
        return answer


async def carry_out_async(steps: Steps[T], face: Face, words: dict[str, Any]) -> T:
    """Take the steps on the asyncio face."""
    try:
        name, arguments = next(steps)
        while True:
            try:
                result = await getattr(face, name)(*arguments, **words)
            except SeqCacheError as error:
                name, arguments = steps.throw(error)
            else:
                name, arguments = steps.send(result)
    except StopIteration as done:
        answer: T = done.value
        return answer
