"""The rules of the contract, one function each; AssertionError tells what is wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..errors import NotASequence, SequenceOverflow
from ._blocking import Blocking

MOST = 2**63 - 1
SECONDS = 10.0
THREADS = 8
ROUNDS = 25


class Probe:
    """A backend under test, with keys of its own."""

    def __init__(self, backend: Blocking, prefix: bytes) -> None:
        self.backend = backend
        self.prefix = prefix

    def key(self, name: str | bytes) -> bytes:
        """Return a key below the prefix of this rule."""
        return self.prefix + (name.encode() if isinstance(name, str) else name)

    def get(self, *names: str | bytes) -> list[Any]:
        """Read keys."""
        keys = [self.key(name) for name in names]
        return listed("get", keys, self.backend.get(keys, timeout=SECONDS))

    def increase(self, *names: str | bytes, by: int = 1) -> list[Any]:
        """Increase keys."""
        keys = [self.key(name) for name in names]
        answer = self.backend.increase(keys, by, timeout=SECONDS)
        return listed("increase", keys, answer)

    def raise_to(self, *items: tuple[str | bytes, int]) -> list[Any]:
        """Raise keys."""
        pairs = [(self.key(name), value) for name, value in items]
        answer = self.backend.raise_to(pairs, timeout=SECONDS)
        return listed("raise_to", pairs, answer)


def expect(found: Any, wanted: Any, what: str) -> None:
    """Demand a value; asserts would vanish under ``python -O``."""
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, got {found!r}")


def demand(holds: bool, what: str) -> None:
    """Demand a fact."""
    if not holds:
        raise AssertionError(what)


def listed(method: str, keys: Sequence[Any], answer: Any) -> list[Any]:
    """Demand one result for each key: ints or instances of exceptions."""
    demand(
        isinstance(answer, Sequence) and len(answer) == len(keys),
        f"{method} must return one result for each of {len(keys)} key(s), "
        f"not {answer!r}",
    )
    for item in answer:
        demand(
            type(item) is int or isinstance(item, Exception),
            f"{method} returned {item!r}, which is neither an int nor an exception",
        )
    return list(answer)


# --- values ----------------------------------------------------------------------


def check_missing(probe: Probe) -> None:
    """A key that does not exist reads as 0."""
    expect(probe.get("nobody"), [0], "get of a missing key")
    expect(probe.get("nobody"), [0], "get of a missing key that was read before")
    expect(probe.get(), [], "get of no keys")
    expect(probe.increase(), [], "increase of no keys")
    expect(probe.raise_to(), [], "raise_to of no keys")


def check_increase(probe: Probe) -> None:
    """An increase returns the new value, and get knows it."""
    expect(probe.increase("a"), [1], "the first increase")
    expect(probe.increase("a", by=5), [6], "increase by 5 after 1")
    expect(probe.get("a"), [6], "get after increases by 1 and 5")
    expect(probe.get("b"), [0], "get of another key")
    answer = probe.backend.increase([probe.key("a")], 1, timeout=None)
    expect(list(answer), [7], "increase with timeout=None")


def check_order(probe: Probe) -> None:
    """Results stand in the order of the keys."""
    names = [f"k{n}" for n in (7, 3, 9, 1, 5)]
    probe.raise_to(*[(name, int(name[1:]) * 100) for name in names])
    expect(
        probe.get(*names),
        [700, 300, 900, 100, 500],
        "get: results must stand in the order of the keys",
    )
    expect(
        probe.increase(*names),
        [701, 301, 901, 101, 501],
        "increase: results must stand in the order of the keys",
    )
    expect(
        probe.raise_to(*[(name, 600) for name in names]),
        [701, 600, 901, 600, 600],
        "raise_to: results must stand in the order of the items",
    )


def check_duplicates(probe: Probe) -> None:
    """A key named twice has two results, and counts twice."""
    expect(
        probe.increase("a", "b", "a"),
        [1, 1, 2],
        "increase of a, b, a: a key named twice is increased twice",
    )
    expect(probe.get("a", "b", "a"), [2, 1, 2], "get of a, b, a")
    expect(
        probe.raise_to(("a", 9), ("a", 5)),
        [9, 9],
        "raise_to of one key to 9 and then to 5",
    )


def check_forward(probe: Probe) -> None:
    """raise_to never lowers a value."""
    exact = 2**53 + 1
    expect(probe.raise_to(("a", 10)), [10], "raise_to(10) of a missing key")
    expect(probe.raise_to(("a", 4)), [10], "raise_to(4) must not lower a 10")
    expect(probe.get("a"), [10], "get after raise_to(4) of a 10")
    expect(probe.raise_to(("a", 10)), [10], "raise_to(10) of a 10")
    expect(probe.raise_to(("n", 0)), [0], "raise_to(0) of a missing key")
    expect(probe.raise_to(("a", exact)), [exact], "raise_to(2^53 + 1) must be exact")
    expect(probe.increase("a"), [exact + 1], "increase after 2^53 + 1")


def check_overflow(probe: Probe) -> None:
    """Beyond 2^63 - 1 nothing changes, and that key alone has an error."""
    expect(probe.raise_to(("full", MOST)), [MOST], "raise_to(2^63 - 1)")
    expect(probe.get("full"), [MOST], "get of 2^63 - 1")
    results = probe.increase("a", "full", "b")
    demand(
        isinstance(results[1], SequenceOverflow),
        "increase beyond 2^63 - 1 must give a SequenceOverflow for that key, "
        f"not {results[1]!r}",
    )
    expect([results[0], results[2]], [1, 1], "the neighbours of a key that overflows")
    expect(probe.get("full"), [MOST], "get after an overflow: nothing may change")
    expect(probe.increase("edge", by=MOST), [MOST], "increase by 2^63 - 1 from 0")
    results = probe.increase("a", by=MOST)
    demand(
        isinstance(results[0], SequenceOverflow),
        f"increase of a 1 by 2^63 - 1 must be a SequenceOverflow, not {results[0]!r}",
    )


def check_keys(probe: Probe) -> None:
    """Keys are any bytes, and all of them differ."""
    names = [b"a", b"A", b"a ", b" a", b"a\0", b"\0", b"\xff\xfe", b"a\r\nb", b"*"]
    names += ["ä".encode(), b"%", b"_", b"'", b"x" * (512 - len(probe.prefix))]
    wanted = list(range(1, len(names) + 1))
    found = [probe.increase(name, by=n)[0] for n, name in enumerate(names, 1)]
    expect(found, wanted, f"increase of fresh keys {names[:-1]!r} and a long one")
    expect(probe.get(*names), wanted, "get of them")


def check_scan(probe: Probe) -> None:
    """scan yields what begins with the prefix, taken literally, and nothing else."""
    wanted = {probe.key(b"in:%d" % n): n for n in range(1, 1200)}
    wanted[probe.key(b"in:\xff")] = 5
    probe.backend.raise_to(list(wanted.items()), timeout=SECONDS)
    probe.raise_to(("out", 1), ("IN:1", 1), ("i", 1), ("i[n]:1", 7), ("i*:1", 8))
    found = dict(probe.backend.scan(probe.key("in:")))
    missing = len(wanted.keys() - found.keys())
    demand(not missing, f"scan left out {missing} of {len(wanted)} keys")
    extra = sorted(found.keys() - wanted.keys())
    demand(not extra, f"scan yields what does not begin with the prefix: {extra[:3]}")
    expect(found == wanted, True, "the numbers of a scan are those of get")
    for name, number in (("i[n]:", 7), ("i*:", 8)):
        found = dict(probe.backend.scan(probe.key(name)))
        key = probe.key(name + "1")
        expect(found, {key: number}, f"scan of {name!r}: a prefix is no pattern")
    expect(list(probe.backend.scan(probe.key("none:"))), [], "scan of no keys")


def check_ping(probe: Probe) -> None:
    """ping returns None when all is well."""
    expect(probe.backend.ping(timeout=SECONDS), None, "ping")
    expect(probe.backend.ping(timeout=None), None, "ping with timeout=None")


# --- threads ---------------------------------------------------------------------


def check_atomic(probe: Probe) -> None:
    """No number is given twice, whoever else is at work."""
    taken: list[int] = []
    many: list[list[int]] = [[], [], []]

    def work(_: int) -> None:
        for _ in range(ROUNDS):
            taken.extend(probe.increase("one"))
            for numbers, number in zip(
                many, probe.increase("x", "y", "z", by=2), strict=True
            ):
                numbers.append(number)

    in_threads(work)
    total = THREADS * ROUNDS
    twice = len(taken) - len(set(taken))
    demand(
        not twice,
        f"increase is not atomic: {twice} of {total} numbers were given twice "
        f"to {THREADS} threads",
    )
    expect(sorted(taken), list(range(1, total + 1)), "the numbers of all threads")
    for numbers in many:
        expect(
            sorted(numbers),
            list(range(2, 2 * total + 1, 2)),
            "increase of many keys is not atomic: the numbers of all threads",
        )


def check_atomic_raise(probe: Probe) -> None:
    """A raise among increases loses none of them and lowers nothing."""
    taken: list[int] = []
    lowered: list[str] = []
    raising = [True] * (THREADS // 2)

    def rise() -> Iterator[int]:
        for step in range(ROUNDS):
            to = step * THREADS if step % 3 == 0 else 1
            yield probe.raise_to(("both", to))[0]
        raising.pop()

    def count() -> Iterator[int]:
        # As long as the others raise: that may take them longer.
        for _ in range(ROUNDS * 40):
            number = probe.increase("both")[0]
            taken.append(number)
            yield number
            if not raising:
                return
            time.sleep(0.001)

    def work(which: int) -> None:
        last = 0
        for number in rise() if which % 2 else count():
            if number < last:
                lowered.append(f"{number} after {last}")
            last = number

    in_threads(work)
    twice = len(taken) - len(set(taken))
    demand(
        not lowered and not twice,
        f"raise_to is not atomic: among raises, {twice} of {len(taken)} numbers were "
        f"given twice, and a thread saw the sequence go back {len(lowered)} times "
        + ", ".join(lowered[:3]),
    )


def in_threads(work: Callable[[int], None]) -> None:
    """Run a function in threads that begin together; pass on the first error."""
    start = threading.Barrier(THREADS)
    errors: list[BaseException] = []

    def run(which: int) -> None:
        try:
            start.wait()
            work(which)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# --- failures --------------------------------------------------------------------


def check_spoiled(probe: Probe, spoil: Callable[[bytes], None]) -> None:
    """A key that holds something else has an error of its own, in every call."""
    spoil(probe.key("bad"))
    probe.raise_to(("good", 5))
    results = {
        "get": probe.get("good", "bad", "good"),
        "increase": probe.increase("good", "bad", "good"),
        "raise_to": probe.raise_to(("good", 9), ("bad", 9), ("good", 9)),
    }
    for method, (before, bad, after) in results.items():
        demand(
            isinstance(bad, NotASequence),
            f"{method} of a key that is no sequence must give a NotASequence for it, "
            f"not {bad!r}",
        )
        demand(
            isinstance(before, int) and isinstance(after, int),
            f"{method}: one key that is no sequence must not fail its neighbours",
        )
    found = dict(probe.backend.scan(probe.prefix))
    demand(probe.key("bad") not in found, "scan must leave out what is no sequence")


def check_outage(
    probe: Probe, outage: Callable[[], AbstractContextManager[Any]]
) -> None:
    """Without the store there are errors: never a 0, never an invented number."""
    key, short = probe.key("a"), 1.0
    probe.raise_to(("a", 50))
    calls: dict[str, Callable[[], Any]] = {
        "get": lambda: probe.backend.get([key], timeout=short),
        "increase": lambda: probe.backend.increase([key], 1, timeout=short),
        "raise_to": lambda: probe.backend.raise_to([(key, 60)], timeout=short),
        "ping": lambda: probe.backend.ping(timeout=short),
    }
    with outage():
        for method, call in calls.items():
            began = time.monotonic()
            try:
                answer = call()
            except Exception as error:
                answer = [error]
            demand(
                answer is not None and isinstance(answer[0], Exception),
                f"{method} without the store must be an error, not {answer!r}",
            )
            spent = time.monotonic() - began
            demand(
                spent < short + 1,
                f"{method} took {spent:.1f} s in an outage, its timeout was {short} s",
            )
    number = probe.increase("a")[0]
    demand(
        isinstance(number, int) and number > 50,
        f"increase after the outage of a store that held 50 gave {number!r}",
    )


def check_close(backend: Blocking) -> None:
    """close may be called more than once."""
    backend.close()
    backend.close()


RULES: dict[str, Callable[[Probe], None]] = {
    "missing": check_missing,
    "increase": check_increase,
    "order": check_order,
    "duplicates": check_duplicates,
    "forward": check_forward,
    "overflow": check_overflow,
    "keys": check_keys,
    "scan": check_scan,
    "ping": check_ping,
    "atomic": check_atomic,
    "atomic raise": check_atomic_raise,
}
