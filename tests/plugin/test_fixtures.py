"""The fixtures in projects of users: servers, addresses, caches of both faces."""

from __future__ import annotations

import pytest

BLOCKING = """
    import seqcache

    def test_cache_is_empty(seq_cache):
        assert isinstance(seq_cache, seqcache.SeqCache)
        assert seq_cache.get_seq("alice") == 0
        assert seq_cache.increase_seq("alice") == 1

    def test_cache_is_empty_again(seq_cache):
        assert seq_cache.increase_seq("alice") == 1

    def test_url_leads_to_the_same_numbers(seq_cache, seqcache_url):
        seq_cache.increase_seq("alice")
        with seqcache.cache(seqcache_url) as mine:
            assert mine.increase_seq("alice") == 2

    def test_factory_takes_fields_of_config(seq_cache, seq_cache_factory):
        other = seq_cache_factory(prefix="send_seq:", timeout=0.5)
        assert other.config.timeout == 0.5
        other.increase_seq("alice")
        assert seq_cache.get_seq("alice") == 0
        with seq_cache_factory(prefix="send_seq:") as closed_by_the_test:
            assert closed_by_the_test.get_seq("alice") == 1
"""

TWELVE = """
    import pytest

    @pytest.mark.parametrize("n", range(12))
    def test_it(seq_cache, n):
        assert [seq_cache.increase_seq("alice") for _ in range(50)] == [*range(1, 51)]
"""


def test_blocking_fixtures_on_a_private_server(live_project):
    live_project.write("test_it.py", BLOCKING)
    live_project.passes(4)


def test_blocking_fixtures_on_memory(project):
    project.write("test_it.py", BLOCKING)
    project.passes(4, "--seqcache-url", "memory://")


def test_blocking_fixtures_on_a_named_server(live_project, server):
    live_project.write("test_it.py", BLOCKING)
    for _ in range(2):
        live_project.passes(4, "--seqcache-url", server.url)
    assert server.admin("DBSIZE") == 0


def test_named_server_with_data_is_refused(project, server):
    server.admin("SET", "precious", "1")
    project.write("test_it.py", "def test_it(seq_cache): pass")
    ran = project.run("--seqcache-url", server.sock_url)
    assert ran.outcomes == {"error": 1}
    assert "database 0 at" in ran.text
    assert "redis-cli -n 0 FLUSHDB" in ran.text
    assert server.admin("DBSIZE") == 1


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_workers_at_a_named_server_have_databases_of_their_own(project, server, kind):
    project.write("test_it.py", TWELVE)
    server.admin("SET", "precious", "1")
    url = {"tcp": f"{server.url[:-1]}5?timeout=5", "unix": f"{server.sock_url[:-1]}5"}
    project.passes(12, "-n", "3", "--seqcache-url", url[kind])
    assert server.admin("INFO", "keyspace").count(b"keys=") == 1


def test_named_server_that_is_away_is_an_error(project):
    project.write("test_it.py", "def test_it(seq_cache): pass")
    ran = project.run("--seqcache-url", "redis://127.0.0.1:1")
    assert ran.outcomes == {"error": 1}
    assert "StartupError" in ran.text


def test_workers_of_xdist_have_servers_of_their_own(live_project):
    live_project.write("test_it.py", TWELVE)
    live_project.passes(12, "-n", "3")


def test_without_a_server_tests_are_skipped_with_the_reason(project):
    project.write("test_it.py", "def test_it(seq_cache): pass")
    project.hide_servers()
    ran = project.run()
    assert ran.outcomes == {"skipped": 1}, ran.text
    assert "no redis-server or valkey-server on PATH: install one" in ran.text
