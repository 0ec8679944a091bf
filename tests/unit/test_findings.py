"""What `seqcache doctor` says: each judgement, on servers made up for it."""

from __future__ import annotations

import pytest

from seqcache import Config, Health
from seqcache._health import parse_info, persistence_of
from seqcache.cli import findings
from seqcache.cli.findings import MEND, NOTE, OK
from seqcache.cli.rights import Rights

WELL = Health(
    server="h:6379/0",
    software="redis",
    version="7.0.15",
    mode="standalone",
    role="primary",
    persistence="aof everysec",
    eviction="noeviction",
    memory=10_000_000,
    memory_limit=0,
    replicas=1,
    clients=5,
    functions=True,
    latency=0.0002,
    clock=0.001,
    details={"min_slaves_good_slaves": "1", "maxclients": "10000"},
)
PLAIN = Config("redis://localhost")
DURABLE = Config("redis://localhost", ceilings="sqlite:///x.db")


def judged(config=PLAIN, details=None, **changes):
    """(check, level) -> (text, remedy) of a server like WELL, but for changes."""
    if details is not None:
        changes["details"] = {**WELL.details, **details}
    health = WELL._replace(**changes)
    found = list(findings.of_server(health, config))
    return {(one.check, one.level): (one.text, one.remedy) for one in found}


@pytest.mark.parametrize("config", [PLAIN, DURABLE])
def test_healthy_server_has_nothing_to_mend(config):
    assert {level for _, level in judged(config)} == {OK}


@pytest.mark.parametrize(
    ("changes", "check", "level", "remedy"),
    [
        ({"version": "5.0.14"}, "server", NOTE, "update"),
        ({"role": "replica"}, "server", MEND, "primary"),
        ({"persistence": "none"}, "persistence", MEND, "appendonly yes"),
        ({"persistence": "rdb"}, "persistence", NOTE, "appendonly yes"),
        ({"persistence": "aof no"}, "persistence", NOTE, "appendfsync everysec"),
        ({"persistence": ""}, "persistence", NOTE, "+config|get"),
        ({"details": {"rdb_last_bgsave_status": "err"}}, "disk", MEND, "disk"),
        ({"details": {"aof_last_write_status": "err"}}, "disk", MEND, "disk"),
        (
            {"eviction": "allkeys-lru", "memory_limit": 2**30},
            "eviction",
            MEND,
            "maxmemory-policy noeviction",
        ),
        ({"memory_limit": 10_500_000}, "eviction", MEND, "raise maxmemory"),
        ({"eviction": ""}, "eviction", NOTE, "+info"),
        ({"replicas": 0}, "replicas", NOTE, "add a replica"),
        ({"replicas": None}, "replicas", NOTE, "+info"),
        ({"functions": False}, "functions", NOTE, "Redis 7"),
        ({"functions": None}, "functions", NOTE, "+info"),
        ({"latency": 0.6}, "latency", MEND, "nearby"),
        ({"latency": 0.03}, "latency", NOTE, "SLOWLOG"),
        ({"clock": 5.0}, "clock", NOTE, "NTP"),
        ({"clock": -5.0}, "clock", NOTE, "NTP"),
        ({"clock": None}, "clock", NOTE, "+time"),
        ({"clients": 9_500}, "clients", MEND, "maxclients"),
    ],
)
def test_each_trouble_is_found_and_has_a_remedy(changes, check, level, remedy):
    found = judged(**changes)
    assert (check, level) in found
    assert remedy in found[check, level][1]
    others = {key for key in found if key[0] != check}
    assert {level for _, level in others} == {OK}


def test_every_finding_that_is_not_ok_has_a_remedy():
    bare = Health("h:1/0", latency=1.0)
    found = findings.of_server(bare, PLAIN)
    assert all(one.remedy for one in found if one.level != OK)


def test_failover_without_a_floor_is_told_in_plain_mode_only():
    details = {"min_slaves_good_slaves": ""}
    assert ("replicas", NOTE) in judged(details=details)
    assert ("replicas", OK) in judged(DURABLE, details=details)


def test_durable_mode_forgives_lost_data_and_needs_functions():
    assert ("persistence", NOTE) in judged(DURABLE, persistence="none")
    assert ("persistence", OK) in judged(DURABLE, persistence="rdb")
    assert ("functions", MEND) in judged(DURABLE, functions=False)
    lua = judged(DURABLE, functions=False, software="valkey", version="9.1.2")
    assert "lua module" in lua["functions", MEND][1]


def test_evicted_keys_are_counted():
    found = judged(
        eviction="allkeys-lfu", memory_limit=2**30, details={"evicted_keys": "1234"}
    )
    assert "1,234 keys were evicted" in found["eviction", MEND][0]


def test_slow_timeout_is_judged_by_the_cache_s_own():
    no_limit = Config("redis://localhost", timeout=None)
    assert ("latency", NOTE) in judged(no_limit, latency=0.6)


# --- rights ---------------------------------------------------------------------


def test_rights_that_are_missing_come_with_the_command_that_grants_them():
    rights = Rights(user="app", missing=["incr", "evalsha", "msetnx"], keys=["get"])
    found = list(findings.of_rights(rights, Config("redis://h", prefix="send:")))
    assert [(one.check, one.level) for one in found] == [
        ("rights", MEND),
        ("rights", MEND),
        ("rights", NOTE),
    ]
    assert found[0].remedy == "ACL SETUSER app +incr +evalsha"
    assert found[1].remedy == "ACL SETUSER app ~send:*"
    assert found[2].remedy == "ACL SETUSER app +msetnx"
    (keys,) = findings.of_rights(Rights(user="app", keys=["get"]), DURABLE)
    assert keys.remedy == "ACL SETUSER app ~seq:* ~sqc:*"


def test_refused_writes_are_told_beside_good_rights():
    rights = Rights(user="app", refusal="MISCONF Redis is configured to", untested="x")
    good, refused = findings.of_rights(rights, PLAIN)
    assert (good.level, refused.level) == (OK, MEND)
    assert "x needs +multi to try" in good.text
    assert refused.remedy == "the server cannot write to its disk"
    odd = Rights(user="app", refusal="STRANGE thing")
    assert list(findings.of_rights(odd, PLAIN))[1].remedy == "see the server's log"


@pytest.mark.parametrize(
    ("url", "checks"),
    [
        ("redis://localhost", []),
        ("redis://127.0.0.1", []),
        ("redis://[::1]", []),
        ("unix:///x.sock", []),
        ("redis://:pw@db.example", []),
        ("redis://db.example", ["auth"]),
    ],
)
def test_server_elsewhere_without_a_password_is_noted(url, checks):
    assert [one.check for one in findings.of_transport(Config(url))] == checks


def test_values_that_are_no_sequences_name_migrate():
    assert findings.of_values(10, 0, "seq:").level == OK
    found = findings.of_values(10, 3, "seq:")
    assert (found.level, "migrate" in found.remedy) == (MEND, True)


# --- health ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "appends", "saves", "said"),
    [
        ({"aof_enabled": "0"}, {"appendonly": "no"}, {"save": ""}, "none"),
        ({"aof_enabled": "0"}, {"appendonly": "no"}, {"save": "60 1"}, "rdb"),
        (
            {"aof_enabled": "1"},
            {"appendonly": "yes", "appendfsync": "always"},
            {"save": "60 1"},
            "aof always + rdb",
        ),
        ({"aof_enabled": "1"}, {}, {}, "aof"),
        ({"aof_enabled": "0"}, {}, {}, ""),
        ({}, {}, {}, ""),
    ],
)
def test_persistence_is_said_as_far_as_it_is_known(info, appends, saves, said):
    assert persistence_of(info, appends, saves) == said


def test_info_is_read_line_by_line():
    text = b"# Server\r\nredis_version:7.0.15\r\nos:Linux 6.1:x\r\n\r\n# Clients\r\n"
    assert parse_info(text) == {"redis_version": "7.0.15", "os": "Linux 6.1:x"}
    assert parse_info(None) == {}


def test_health_prints_as_a_table_and_leaves_out_what_is_not_known():
    text = str(Health("h:1/0", latency=0.0005, clock=-1.5))
    assert text.splitlines() == [
        "server   h:1/0",
        "latency  0.500 ms",
        "clock    -1.500 s",
    ]
    html = Health("<h>", latency=0.0005)._repr_html_()
    assert "<td>&lt;h&gt;</td>" in html
    assert "details" not in repr(WELL)
