"""Tokens over third parties' backends: refused, or the backend's own matter."""

from __future__ import annotations

import asyncio

import pytest
from unit.foreign_store import DictBackend

import seqcache
from seqcache import backends
from seqcache.errors import OutcomeUnknown, SeqCacheError, TokenConflict


class TokenBackend(DictBackend):
    """One that knows tokens."""

    def __init__(self, config=None):
        super().__init__(config)
        self.records = {}

    def increase_once(self, keys, by, token, *, ttl, timeout):
        self.seen.append(("once", tuple(keys), by, token, ttl))
        if self.fault is not None:
            raise self.fault
        return [self.once(key, by, token) for key in keys]

    def once(self, key, by, token):
        if (key, token) not in self.records:
            (number,) = self.increase([key], by, timeout=None)
            self.records[key, token] = (number, by)
        number, before = self.records[key, token]
        return number if by == before else TokenConflict("no", executed=False)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(backends, "_registered", {})


def open_over(backend, **words):
    seqcache.register_backend("dict", lambda config: backend)
    return seqcache.cache("dict://here", **words)


def test_backend_without_tokens_refuses_them_and_is_not_asked():
    backend = DictBackend()
    with open_over(backend) as cache:
        backend.seen.clear()
        for call in (
            lambda: cache.increase_seq("alice", token="m"),
            lambda: cache.reserve("alice", 3, token="m"),
            lambda: cache.increase_seqs(["alice", "bob"], token="m"),
        ):
            with pytest.raises(SeqCacheError, match="knows no tokens") as caught:
                call()
            assert caught.value.executed is False
            assert "increase_once" in caught.value.hint
        assert backend.seen == []


def test_backend_with_tokens_gets_them_as_bytes_with_their_time():
    backend = TokenBackend()
    with open_over(backend, token_ttl=33, on_regress="raise") as cache:
        assert cache.increase_seq("alice", token="m") == 1
        assert backend.seen[-2] == ("once", (b"seq:alice",), 1, b"m", 33)
        assert cache.increase_seqs(["alice", "alice", "bob"], token=b"m") == [1, 1, 1]
        assert cache.reserve("alice", 3, token="n") == range(2, 5)
        assert cache.reserve("alice", 3, token="n") == range(2, 5)
        assert cache.increase_seq("alice", token="m") == 1  # no regression
        with pytest.raises(TokenConflict):
            cache.increase_seq("alice", 2, token="m")
        with pytest.raises(ValueError, match="1 to 512 bytes"):
            cache.increase_seq("alice", token="")
        with pytest.raises(TypeError, match="str or bytes"):
            cache.increase_seq("alice", token=1)


@pytest.mark.parametrize("fault", [OSError("gone"), OutcomeUnknown("lost")])
def test_unknown_outcome_names_the_token(fault):
    backend = TokenBackend()
    with open_over(backend) as cache:
        backend.fault = fault
        with pytest.raises(OutcomeUnknown) as caught:
            cache.increase_seq("alice", 2, token="m")
        error = caught.value
        assert (error.user_id, error.by, error.token) == ("alice", 2, "m")


def test_asyncio_face_passes_tokens_on():
    async def main():
        seqcache.register_backend("dict", TokenBackend)
        async with seqcache.acache("dict://here") as cache:
            assert await cache.increase_seq("alice", token="m") == 1
            assert await cache.increase_seq("alice", token="m") == 1
        seqcache.register_backend("dict", DictBackend)
        async with seqcache.acache("dict://here") as cache:
            with pytest.raises(SeqCacheError, match="knows no tokens"):
                await cache.increase_seq("alice", token="m")

    asyncio.run(main())
