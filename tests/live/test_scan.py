"""scan: every id once or more, nothing foreign."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import seqcache


def test_scan_of_an_empty_server_is_empty(cache):
    assert cache.scan() == []


def test_scan_gives_ids_and_numbers(cache):
    cache.raise_seqs({"alice": 3, "bob": 5})
    assert dict(cache.scan()) == {"alice": 3, "bob": 5}


def test_scan_of_many_ids_finds_each(cache):
    wanted = {f"user-{n}": n for n in range(1, 3001)}
    cache.raise_seqs(wanted)
    assert dict(cache.scan()) == wanted


def test_scan_matches_a_glob(cache):
    cache.raise_seqs({"alice": 1, "alan": 2, "bob": 3, "a?c": 4})
    assert dict(cache.scan("al*")) == {"alice": 1, "alan": 2}
    assert dict(cache.scan(match="b?b")) == {"bob": 3}
    assert dict(cache.scan("a\\?c")) == {"a?c": 4}
    assert dict(cache.scan("[ab]*")).keys() == {"alice", "alan", "bob", "a?c"}
    assert cache.scan("nobody*") == []


def test_scan_for_what_is_no_pattern_says_so(cache):
    for wrong in (None, 3):
        with pytest.raises(
            TypeError, match="match must be str or bytes, not (None|int)"
        ):
            cache.scan(wrong)


def test_scan_gives_bytes_where_the_id_is_not_utf8(cache):
    cache.raise_seqs({b"\xff\x01": 1, "ok": 2})
    assert dict(cache.scan()) == {b"\xff\x01": 1, "ok": 2}


@pytest.mark.parametrize("prefix", ["s*q:", "s?q:", "s[e]q:", "s\\eq:", "["])
def test_scan_escapes_glob_characters_of_the_prefix(live_face, server, prefix):
    server.admin("SET", "seq:decoy", 1)
    server.admin("SET", "saq:decoy", 1)
    with live_face.open(prefix=prefix) as cache:
        cache.increase_seq("mine")
        assert cache.scan() == [("mine", 1)]


def test_scan_skips_foreign_types_and_our_own_keys(server, live_cache):
    live_cache.increase_seq("alice")
    server.admin("RPUSH", "seq:list", "x")
    server.admin("SADD", "seq:set", "x")
    server.admin("SET", "seq:text", "hello")
    server.admin("SET", "sqc:own", "1")
    server.admin("SET", "other:bob", "1")
    assert live_cache.scan() == [("alice", 1)]


def test_scan_without_prefix_still_skips_our_own_keys(live_face, server):
    server.admin("SET", "alice", "4")
    server.admin("SET", "sqc:own", "1")
    with live_face.open(prefix="") as cache:
        assert cache.scan() == [("alice", 4)]


def test_scan_does_not_stop_other_calls(live_cache):
    live_cache.raise_seqs({f"u{n}": n for n in range(1, 2001)})
    with ThreadPoolExecutor(1) as pool:
        scanning = pool.submit(lambda: [live_cache.scan("u*") for _ in range(3)])
        numbers = live_cache.start_all("increase_seq", [("x",)] * 50)
        found = scanning.result(20)
    assert sorted(numbers) == list(range(1, 51))
    assert [len(dict(pairs)) for pairs in found] == [2000] * 3


def test_scan_abandoned_half_way_leaves_the_cache_usable(server):
    with seqcache.cache(server.url) as cache:
        cache.raise_seqs({f"u{n}": n for n in range(1, 1001)})
        for _ in cache.scan():
            break
        assert cache.increase_seq("u1") == 2
