"""health() on every face, and `seqcache doctor` on real servers."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import json
import pickle

import pytest
from command import environ, run, terminal

import seqcache
from seqcache.cli import rights
from seqcache.errors import ClosedError, SeqCacheError

__all__ = ["environ", "run", "terminal"]


def test_health_of_a_server(live_cache, server):
    health = live_cache.health()
    assert isinstance(health, seqcache.Health)
    info = server.info("server")
    assert health.version in (info["redis_version"], info.get("valkey_version"))
    assert (health.role, health.mode) == ("primary", "standalone")
    assert (health.persistence, health.eviction) == ("none", "noeviction")
    assert (health.replicas, health.functions) == (0, True)
    assert 0 < health.latency < 1
    assert abs(health.clock) < 1
    assert health.memory > 0
    assert health.details["tcp_port"] == str(server.port)
    assert pickle.loads(pickle.dumps(health)) == health
    assert live_cache.health(timeout=5).server == health.server


def test_health_of_memory(memory_face):
    health = memory_face.open().health()
    assert (health.role, health.persistence) == ("primary", "none")
    assert health.functions is False
    assert health.version == seqcache.__version__


def test_health_of_an_embedded_store(embedded_face):
    health = embedded_face.open().health()
    assert (health.software, health.persistence) == ("sqlite", "ceilings")


def test_health_follows_the_settings(live_face, make_server):
    one = make_server("--appendonly", "yes", "--maxmemory", "100mb")
    one.admin("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    one.admin("CONFIG", "SET", "save", "60 1000")
    for protocol in (2, 3):
        health = live_face.open(one.url, protocol=protocol).health()
        assert health.persistence == "aof everysec + rdb"
        assert health.eviction == "allkeys-lru"
        assert health.memory_limit == 100 * 2**20


def test_health_where_the_acl_hides_most(live_face, own_server):
    allowed = ["+get", "+ping", "+exists"]
    own_server.admin("ACL", "SETUSER", "u", "on", ">p", "~seq:*", *allowed)
    url = f"redis://u:p@127.0.0.1:{own_server.port}/0"
    health = live_face.open(url).health()
    assert health.latency > 0
    assert (health.persistence, health.eviction, health.clock) == ("", "", None)
    assert health.replicas is None
    assert health.functions, "its version is told by HELLO"


def test_health_of_an_old_server(live_face, old_server):
    health = live_face.open(old_server.url).health()
    assert health.version.startswith("6.")
    assert (health.functions, health.persistence) == (False, "none")


def test_health_of_a_server_that_went_away_is_an_error(live_face, own_server):
    cache = live_face.open(own_server.url, timeout=0.5)
    own_server.kill()
    with pytest.raises(SeqCacheError):
        cache.health()
    cache.close()
    with pytest.raises(ClosedError):
        cache.health()


# --- rights -----------------------------------------------------------------------

# What DURABLE mode is documented to need, and the scan of `ceilings`.
NEEDED = "+fcall +function|load +incr +incrby +decrby +get +set +del +time +info +scan"
PLAIN = "+get +mget +scan +incr +incrby +eval +evalsha +set +pttl"


def probed(server, *rules, **options):
    server.admin("ACL", "SETUSER", "u", "reset", "on", ">p", "+ping", "+exists", *rules)
    url = f"redis://u:p@127.0.0.1:{server.port}/0"
    return rights.probe(seqcache.Config(url, **options))


def test_probing_changes_nothing_and_finds_all_rights(server):
    found = rights.probe(seqcache.Config(server.url))
    assert found == rights.Rights(user="default")
    durable = seqcache.Config(server.url, ceilings="sqlite://")
    assert rights.probe(durable) == rights.Rights(user="default")
    assert server.admin("DBSIZE") == 0
    assert server.admin("FUNCTION", "LIST") == []


@pytest.mark.parametrize("queue", [["+multi", "+discard"], []])
@pytest.mark.parametrize(
    ("needed", "options"), [(PLAIN, {}), (NEEDED, {"ceilings": "sqlite://"})]
)
def test_each_right_that_is_taken_away_is_missed(own_server, needed, options, queue):
    granted = needed.split()
    spare = set() if options else {"del", "msetnx", "info", "time"}
    whole = probed(own_server, "~seq:*", "~sqc:*", *granted, *queue, **options)
    assert (set(whole.missing), whole.keys) == (spare, [])
    assert whole.user == "u"
    assert whole.untested == ("" if queue else "incr")
    for one in granted:
        rest = [other for other in granted if other != one]
        found = probed(own_server, "~seq:*", "~sqc:*", *rest, *queue, **options)
        if one != whole.untested and f"+{whole.untested}" != one:
            assert set(found.missing) - spare == {one[1:]}, one
    assert own_server.admin("DBSIZE") == 0


@pytest.mark.parametrize("queue", [["+multi", "+discard"], []])
def test_keys_that_may_not_be_touched_are_missed(own_server, queue):
    found = probed(own_server, "~other:*", *PLAIN.split(), *queue)
    assert "get" in found.keys
    assert "set" in found.keys


@pytest.mark.parametrize("queue", [True, False])
def test_server_that_refuses_writes_says_why(own_server, queue):
    own_server.admin("CONFIG", "SET", "maxmemory", "1")
    rules = ["~*", "+@all"] if queue else ["~*", "+@all", "-multi"]
    assert probed(own_server, *rules).refusal.startswith("OOM ")
    own_server.admin("CONFIG", "SET", "maxmemory", "0")
    own_server.admin("CONFIG", "SET", "min-replicas-to-write", "1")
    assert probed(own_server, *rules).refusal.startswith("NOREPLICAS ")
    assert own_server.admin("DBSIZE") == 0


def test_rights_on_an_old_server(old_server):
    found = rights.probe(seqcache.Config(old_server.url))
    assert found == rights.Rights(user="default")


# --- doctor -----------------------------------------------------------------------


def diagnosed(out):
    return {(one["check"], one["level"]): one for one in map(json.loads, out)}


def test_doctor_tells_what_to_mend_and_fails(run, server):
    code, out, err = run("doctor")
    assert (code, err) == (1, "")
    assert "mend  persistence   off: after a restart every" in out
    assert "-> CONFIG SET appendonly yes" in out
    assert out.splitlines()[-1].startswith("1 to mend, ")
    code, out, _ = run("doctor", "-q")
    assert (code, out.startswith("mend  persistence")) == (1, True)
    assert "\nok " not in out


def test_doctor_finds_a_good_server_well(run, make_server):
    good = make_server("--appendonly", "yes")
    good.admin("SET", "seq:alice", 5)
    good.admin("SET", "seq:zero", 0)
    code, out, err = run("doctor", "--json", "--url", good.url)
    found = diagnosed(out.splitlines())
    assert (code, err) == (0, "")
    assert {level for _, level in found} == {"ok", "note"}
    assert found["values", "ok"]["text"] == "2 keys of 'seq:' looked at"
    assert good.admin("DBSIZE") == 2


def test_doctor_names_migrate_for_values_of_another_form(run, server):
    server.admin("HSET", "seq:alice", "cur_seq", 1, "max_seq", 100)
    server.admin("SET", "seq:bob", "text")
    server.admin("SET", "seq:carol", 5)
    _, out, _ = run("doctor", "--json")
    found = diagnosed(out.splitlines())
    assert found["values", "mend"]["text"].startswith("2 of 3 keys of 'seq:'")
    assert "migrate" in found["values", "mend"]["remedy"]


def test_doctor_of_a_server_that_is_away_is_3(run, own_server):
    own_server.kill()
    code, out, _ = run("doctor", "--json", "--url", own_server.url)
    ((check, level), finding) = diagnosed(out.splitlines()).popitem()
    assert (code, check, level) == (3, "reach", "mend")
    assert "is the server running" in finding["remedy"]


def test_doctor_with_wrong_credentials_tells_auth(run, make_server):
    guarded = make_server("--requirepass", "right", password="right")
    url = f"redis://:secret@127.0.0.1:{guarded.port}/0"
    code, out, err = run("doctor", "--url", url)
    assert code == 1
    assert out.startswith("mend  auth ")
    assert "secret" not in out + err


def test_doctor_of_a_limited_user_grants_what_is_missing(run, own_server):
    rules = ["on", ">p", "~seq:*", "+ping", "+exists", "+get"]
    own_server.admin("ACL", "SETUSER", "app", *rules)
    url = f"redis://app:p@127.0.0.1:{own_server.port}/0"
    _, out, _ = run("doctor", "--json", "--url", url)
    remedy = diagnosed(out.splitlines())["rights", "mend"]["remedy"]
    assert remedy.startswith("ACL SETUSER app +mget ")
    own_server.admin(*remedy.split(), "+incr")  # which it could not try
    _, out, _ = run("doctor", "--json", "--url", url)
    assert ("rights", "mend") not in diagnosed(out.splitlines())
    assert run("incr", "alice", "--url", url)[:2] == (0, "1\n")
    assert run("raise", "alice", "7", "--url", url)[:2] == (0, "7\n")
    assert run("ls", "--url", url)[:2] == (0, "alice\t7\n")


def test_doctor_compares_ceilings_with_the_server(run, server, tmp_path):
    pytest.importorskip("sqlalchemy")
    store = f"sqlite:///{tmp_path}/ceilings.db"
    more = {
        "SEQCACHE_CEILINGS": store,
        "SEQCACHE_TIMEOUT": "20",
    }  # the disk may be slow
    server.admin("SET", "seq:alice", 41)
    _, out, _ = run("doctor", "--json", **more)
    found = diagnosed(out.splitlines())
    assert found["ceilings", "note"]["text"] == "1 counters have no ceiling yet"
    assert run("incr", "alice", **more)[:2] == (0, "42\n")
    code, out, _ = run("doctor", "--json", **more)
    found = diagnosed(out.splitlines())
    assert ("ceilings", "ok") in found
    assert code == 0, "durable mode needs no persistence"
    server.admin("SET", "seq:alice", 10**6)
    code, out, _ = run("doctor", "--json", **more)
    assert code == 1
    assert ("ceilings", "mend") in diagnosed(out.splitlines())
    broken = {"SEQCACHE_CEILINGS": f"sqlite:///{tmp_path}/no/such/folder.db"}
    code, out, _ = run("doctor", "--json", **broken)
    assert (code, ("ceilings", "mend") in diagnosed(out.splitlines())) == (1, True)


def test_doctor_of_what_has_no_server(run, tmp_path):
    code, out, _ = run("doctor", "--url", "memory://")
    assert (code, "the numbers end with it" in out) == (0, True)
    code, out, _ = run("doctor", "--url", f"sqlite:///{tmp_path}/x.db")
    assert (code, "the database vouches for the numbers" in out) == (0, True)


def test_doctor_is_coloured_on_a_terminal(terminal, server):
    one = terminal("doctor")
    assert one.process.wait(30) == 1
    one.read_until("to know")
    assert "\x1b[31;1mmend\x1b[0m" in one.text
