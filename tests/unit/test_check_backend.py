"""check_backend: right backends pass, each kind of broken one fails by its name."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from unit.foreign_store import MOST, DictBackend, LoopBackend

import seqcache
from seqcache import backends
from seqcache.errors import BulkError, ConfigError, SequenceOverflow
from seqcache.testing import check_backend

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Nothing is registered at the start, nothing is left at the end."""
    monkeypatch.setattr(backends, "_registered", {})


class CacheBackend:
    """A cache as a backend: whatever seqcache itself offers passes its suite."""

    def __init__(self, cache):
        self.cache = cache

    def _results(self, method, *args, timeout):
        try:
            return method(*args, timeout=timeout)
        except BulkError as error:
            return error.results

    def get(self, keys, *, timeout):
        return self._results(self.cache.get_seqs, keys, timeout=timeout)

    def increase(self, keys, by, *, timeout):
        return self._results(self.cache.increase_seqs, keys, by, timeout=timeout)

    def raise_to(self, items, *, timeout):
        return [self._raised(key, to, timeout) for key, to in items]

    def _raised(self, key, to, timeout):
        try:
            return self.cache.raise_seq(key, to, timeout=timeout)
        except seqcache.SeqCacheError as error:
            return error

    def scan(self, prefix):
        special = rb"*?[]^\-"
        pattern = b"".join(
            b"\\" + bytes([byte]) if byte in special else bytes([byte])
            for byte in prefix
        )
        for key, number in self.cache.scan(pattern + b"*"):
            yield (key.encode() if isinstance(key, str) else key), number

    def ping(self, *, timeout):
        self.cache.ping(timeout=timeout)

    def close(self):
        self.cache.close()


class SingleErrors(CacheBackend):
    """One error for all keys is raised by a cache: here it becomes each key's."""

    def _results(self, method, *args, timeout):
        try:
            return super()._results(method, *args, timeout=timeout)
        except (SequenceOverflow, seqcache.NotASequence) as error:
            return [error for _ in args[0]]


# --- what passes -------------------------------------------------------------------


def spoil_of(backend):
    return lambda key: backend.numbers.update({key: ["no number"]})


@contextmanager
def outage_of(backend):
    backend.fault = OSError("gone")
    yield
    backend.fault = None


def test_right_backend_passes():
    backend = DictBackend()
    check_backend(
        lambda: backend, spoil=spoil_of(backend), outage=lambda: outage_of(backend)
    )
    assert backend.closed >= 2


def test_right_asyncio_backend_passes():
    made = []

    def factory():
        made.append(LoopBackend())
        return made[0]

    check_backend(factory, spoil=lambda key: spoil_of(made[0].inner)(key))
    assert made[0].inner.closed >= 2
    assert made[0].loop.is_closed()


def test_registered_scheme_passes_by_its_url():
    seqcache.register_backend("dict", DictBackend)
    check_backend("dict://somewhere")


def test_memory_passes():
    cache = seqcache.cache("memory://", prefix="")
    check_backend(lambda: MemoryBackend(cache))


class MemoryBackend(SingleErrors):
    """memory:// has no glob classes and escapes: pick the keys here."""

    def scan(self, prefix):
        for key, number in self.cache.scan():
            raw = key.encode() if isinstance(key, str) else key
            if raw.startswith(prefix):
                yield raw, number


def test_redis_passes(server):
    cache = seqcache.cache(server.url, prefix="")
    check_backend(
        lambda: SingleErrors(cache),
        spoil=lambda key: server.admin("LPUSH", key, "x"),
    )


def test_redis_passes_an_outage(own_server):
    cache = seqcache.cache(own_server.url, prefix="")

    @contextmanager
    def outage():
        own_server.pause()
        yield
        own_server.resume()

    check_backend(lambda: SingleErrors(cache), outage=outage)


def test_example_passes(tmp_path):
    path = EXAMPLES / "sqlite_backend.py"
    assert len(path.read_text().splitlines()) <= 60
    spec = importlib.util.spec_from_file_location("sqlite_backend", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seqcache.register_backend("lite", module.LiteBackend)
    url = f"lite://{tmp_path}/seqs.db"
    check_backend(url)
    with seqcache.cache(url) as cache:
        assert cache.increase_seqs(["a", "a"]) == [1, 2]
    with seqcache.cache(url) as cache:
        assert cache.increase_seq("a") == 3


# --- what does not -----------------------------------------------------------------


class NotAtomic(DictBackend):
    def increase(self, keys, by, *, timeout):
        results = []
        for key in keys:
            number = self.numbers.get(key, 0) + by
            time.sleep(0.0005)
            if number > MOST:
                results.append(SequenceOverflow("full"))
                continue
            self.numbers[key] = number
            results.append(number)
        return results


class Lowers(DictBackend):
    def raise_to(self, items, *, timeout):
        self.numbers.update(items)
        return [to for _, to in items]


class NotAtomicRaise(DictBackend):
    def raise_to(self, items, *, timeout):
        highest = [max(to, self.numbers.get(key, 0)) for key, to in items]
        time.sleep(0.0005)
        self.numbers.update(
            {key: to for (key, _), to in zip(items, highest, strict=True)}
        )
        results = dict(zip([key for key, _ in items], highest, strict=True))
        return [max(results[key], to) for key, to in items]


class WrongOrder(DictBackend):
    def get(self, keys, *, timeout):
        return sorted(super().get(keys, timeout=timeout))


class NoDuplicates(DictBackend):
    def increase(self, keys, by, *, timeout):
        once = dict.fromkeys(keys)
        results = super().increase(list(once), by, timeout=timeout)
        numbers = dict(zip(once, results, strict=True))
        return [numbers[key] for key in keys]


class Wraps(DictBackend):
    def _one(self, key, value, change):
        number = super()._one(key, value, change)
        return 1 if isinstance(number, SequenceOverflow) else number


class RaisesForAll(DictBackend):
    def increase(self, keys, by, *, timeout):
        results = super().increase(keys, by, timeout=timeout)
        for item in results:
            if isinstance(item, Exception):
                raise item
        return results


class Floats(DictBackend):
    def raise_to(self, items, *, timeout):
        return super().raise_to([(k, int(float(v))) for k, v in items], timeout=timeout)


class Folds(DictBackend):
    def _one(self, key, value, change):
        return super()._one(key.lower(), value, change)


class ScansAll(DictBackend):
    def scan(self, prefix):
        return super().scan(prefix.rpartition(b":")[0][:-2])


class ScansHalf(DictBackend):
    def scan(self, prefix):
        return list(super().scan(prefix))[::2]


class ReadsErrorAsZero(DictBackend):
    def get(self, keys, *, timeout):
        try:
            results = super().get(keys, timeout=timeout)
        except OSError:
            return [0 for _ in keys]
        return [0 if isinstance(item, Exception) else item for item in results]


class Pongs(DictBackend):
    def ping(self, *, timeout):
        return True


class ClosesOnce(DictBackend):
    def close(self):
        if self.closed:
            raise ValueError("closed already")
        self.closed += 1

    def __del__(self):
        self.closed = 1


BROKEN = [
    (NotAtomic, "atomic: increase is not atomic: .* numbers were given twice"),
    (Lowers, r"forward: raise_to\(4\) must not lower a 10: expected \[10\], got \[4\]"),
    (NotAtomicRaise, "atomic raise: raise_to is not atomic: among raises"),
    (WrongOrder, "order: get: results must stand in the order of the keys"),
    (NoDuplicates, r"duplicates: increase of a, b, a: a key named twice is increased"),
    (Wraps, "overflow: increase beyond .* must give a SequenceOverflow .* not 1"),
    (RaisesForAll, "overflow: raised SequenceOverflow"),
    (Floats, r"forward: raise_to\(2\^53 \+ 1\) must be exact"),
    (Folds, "keys: increase of fresh keys"),
    (ScansAll, "scan: scan yields what does not begin with the prefix"),
    (ScansHalf, "scan: scan left out"),
    (Pongs, "ping: ping: expected None, got True"),
]


@pytest.mark.parametrize(("kind", "message"), BROKEN, ids=lambda item: str(item)[:20])
def test_broken_backend_fails_by_its_name(kind, message):
    with pytest.raises(AssertionError, match=message) as caught:
        check_backend(kind)
    assert str(caught.value).startswith("the backend breaks ")


def test_reads_that_turn_errors_into_zero_fail():
    backend = ReadsErrorAsZero()
    check_backend(lambda: backend)  # nobody can tell, without the two means
    with pytest.raises(AssertionError) as caught:
        check_backend(
            lambda: backend, spoil=spoil_of(backend), outage=lambda: outage_of(backend)
        )
    text = str(caught.value)
    assert "breaks 2 rule(s)" in text
    assert "get of a key that is no sequence must give a NotASequence" in text
    assert "get without the store must be an error, not [0]" in text


def test_backend_that_hangs_in_an_outage_fails():
    backend = DictBackend()

    @contextmanager
    def outage():
        def hang(*_):
            time.sleep(2.1)
            raise OSError("gone")

        backend.fault = hang
        yield
        backend.fault = None

    with pytest.raises(AssertionError, match=r"get took 2\.\d s in an outage"):
        check_backend(lambda: backend, outage=outage)


def test_close_must_be_idempotent():
    with pytest.raises((AssertionError, ValueError), match="closed already"):
        check_backend(ClosesOnce)


def test_what_is_no_backend_is_told_what_it_lacks():
    class Half:
        def get(self, keys, *, timeout):
            return [0 for _ in keys]

    with pytest.raises(AssertionError, match="Half is no Backend: it lacks increase"):
        check_backend(Half)

    class AsyncHalf:
        async def get(self, keys, *, timeout):  # noqa: ASYNC109
            return await asyncio.sleep(0, [0 for _ in keys])

    with pytest.raises(AssertionError, match="AsyncHalf is no AsyncBackend"):
        check_backend(AsyncHalf)


def test_own_schemes_have_no_backend_to_check():
    with pytest.raises(ConfigError, match="memory:// is not a third party's scheme"):
        check_backend("memory://x")
