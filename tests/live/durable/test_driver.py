"""Durable mode end to end, through the blocking driver and real servers."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from seqcache.durable import admin as admin
from seqcache.errors import (
    BulkError,
    CeilingError,
    NotASequence,
    SeqCacheError,
    SequenceOverflow,
    TokenConflict,
)

CAP = 2**53 - 1


def test_numbers_are_dense_over_many_blocks_and_prefetches(client):
    assert [client.increase_seq("k") for _ in range(700)] == list(range(1, 701))
    assert client.get_seq("k") == 700
    assert client.durable.stats.skipped == 0


def test_unknown_id_is_zero_and_leaves_nothing(client, durable_server):
    assert client.get_seqs(["a", "b"]) == [0, 0]
    assert client.raise_seq("c", 0) == 0
    assert durable_server.admin("DBSIZE") == 0
    assert list(admin.ls(client.store)) == []


def test_blocks_larger_than_the_step_are_dense(client):
    assert client.increase_seq("k", 120) == 120
    assert client.increase_seq("k") == 121
    assert client.increase_seq("k", 10_000) == 10_121
    assert client.increase_seq("k", 7) == 10_128


def test_bulk_takes_many_keys_in_one_transaction(client):
    def transactions():  # without those that renew the lease
        return client.store.stats.transactions - client.durable.stats.renewals

    keys = [f"k{n}" for n in range(1500)]
    client.get_seq("k")
    before = transactions()
    assert client.increase_seqs(keys) == [1] * 1500
    assert transactions() - before == 2  # OWNER and TAKE
    assert client.increase_seqs(keys) == [2] * 1500
    assert client.get_seqs(keys[::-1]) == [2] * 1500
    assert transactions() - before == 2


def test_id_named_twice_increases_twice_and_with_a_token_once(client):
    assert sorted(client.increase_seqs(["a", "a", "b", "a"])) == [1, 1, 2, 3]
    assert client.increase_seqs(["a", "a", "b"], token="t") == [4, 4, 2]
    assert client.increase_seqs(["a", "a", "b"], token="t") == [4, 4, 2]


def test_token_gets_one_number_through_incidents(client, durable_server):
    number = client.increase_seq("k", 3, token="t")
    durable_server.admin("FUNCTION", "FLUSH")
    assert client.increase_seq("k", 3, token="t") == number
    durable_server.admin("DEBUG", "RELOAD")
    assert client.increase_seq("k", 3, token="t") == number
    assert client.increase_seq("k") > number
    with pytest.raises(TokenConflict, match="counted 3"):
        client.increase_seq("k", 1, token="t")


@pytest.mark.parametrize(
    "fault",
    [
        ("FLUSHALL",),
        ("DEL", "k"),
        ("DEL", "sqc:m:{k}"),
        ("DEL", "k", "sqc:m:{k}"),
        ("SET", "k", "1"),
        ("SET", "k", "999999"),
        ("DEBUG", "RELOAD", "NOSAVE"),
        ("FUNCTION", "FLUSH"),
        ("SWAPDB", "0", "1"),
    ],
    ids=lambda fault: "-".join(fault),
)
def test_lost_or_changed_data_never_brings_a_number_back(client, durable_server, fault):
    durable_server.admin("SAVE")
    numbers = [client.increase_seq("k") for _ in range(10)]
    durable_server.admin(*fault)
    assert client.get_seq("k") >= numbers[-1]
    numbers += [client.increase_seq("k") for _ in range(10)]
    assert numbers == sorted(set(numbers))
    assert client.raise_seq("k", 5) == numbers[-1]


def test_plain_counter_is_adopted_at_its_value(client, durable_server):
    durable_server.admin("SET", "k", "41")
    durable_server.admin("SET", "r", "7")
    assert client.increase_seq("k") == 42
    assert client.get_seq("r") == 7
    assert client.increase_seqs(["k", "r"]) == [43, 8]


def test_migrated_counter_survives_its_loss_before_the_first_touch(
    client, durable_server
):
    durable_server.admin("SET", "k", "41")
    admin.adopt(client.store, [(b"k", 41)])
    durable_server.admin("FLUSHALL")
    assert client.increase_seq("k") == 42


def test_foreign_value_is_no_sequence(client, durable_server):
    durable_server.admin("SET", "text", "hello")
    durable_server.admin("RPUSH", "list", "x")
    for key in ("text", "list"):
        with pytest.raises(NotASequence):
            client.increase_seq(key)
        with pytest.raises(NotASequence):
            client.get_seq(key)
    with pytest.raises(BulkError) as caught:
        client.increase_seqs(["a", "text", "list", "b"])
    first, text, lists, last = caught.value.results
    assert (first, last) == (1, 1)
    assert isinstance(text, NotASequence)
    assert isinstance(lists, NotASequence)


def test_raises_are_forward_only_around_the_ceiling(client):
    assert client.raise_seq("k", 30) == 30
    assert client.raise_seq("k", 10) == 30
    assert client.increase_seq("k") == 31
    assert client.raise_seq("k", 5000) == 5000
    assert client.increase_seq("k") == 5001


def test_numbers_end_at_2_to_the_53(client, durable_server):
    assert client.raise_seq("k", CAP - 2) == CAP - 2
    assert client.increase_seq("k") == CAP - 1
    assert client.increase_seq("k") == CAP
    for by in (1, 2, 2**52):
        with pytest.raises(SequenceOverflow):
            client.increase_seq("k", by)
    assert client.get_seq("k") == CAP
    with pytest.raises(SequenceOverflow):
        client.raise_seq("k", CAP + 1)
    durable_server.admin("SET", "plain", str(2**60))
    with pytest.raises(SequenceOverflow):
        client.get_seq("plain")


def test_two_clients_of_one_server_share_its_epoch(client, client_of, durable_server):
    other = client_of(durable_server)
    numbers = [c.increase_seq("k") for _ in range(20) for c in (client, other)]
    assert numbers == list(range(1, 41))
    assert client.durable.belief.token == other.durable.belief.token


def test_thirty_threads_and_an_empty_server(client, durable_server):
    out: list[int] = []
    errors: list[SeqCacheError] = []

    def work() -> None:
        for n in range(20):
            if n == 10:
                durable_server.admin("FLUSHALL")
            try:
                out.append(client.increase_seq("k"))
            except SeqCacheError as exc:
                errors.append(exc)

    threads = [threading.Thread(target=work) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(out) == len(set(out)) == 600


def test_prefixes_databases_and_deployments_share_a_store(client_of, make_server, url):
    one = client_of(make_server(), deployment="one/0")
    two = client_of(make_server(), deployment="two/0")
    assert [c.increase_seq("k") for c in (one, two, one, two)] == [1, 1, 2, 2]


def test_second_deployment_on_one_server_is_refused(client, client_of, durable_server):
    client.increase_seq("k")
    other = client_of(durable_server, deployment="other/0")
    with pytest.raises(CeilingError) as caught:
        other.increase_seq("k")
    assert caught.value.reason == "rolled_back"
    assert client.increase_seq("k") == 2


def test_rows_that_the_store_lost_are_told_as_soon_as_it_is_asked(client, tmp_path):
    numbers = [client.increase_seq("k") for _ in range(3)]
    with closing(sqlite3.connect(tmp_path / "ceilings.db")) as raw:
        raw.execute("DELETE FROM seq_ceiling")
        raw.commit()
    with pytest.raises(CeilingError, match="Redis has ceiling") as caught:
        numbers.extend(client.increase_seq("k") for _ in range(1000))
    assert caught.value.reason == "rolled_back"
    assert numbers == list(range(1, len(numbers) + 1))
    assert admin.raise_all(client.store, 0, [(b"k", 10_000)]) == 1
    assert client.increase_seq("k") == 10_001


def test_restored_store_is_refused_and_raised(client, client_of, tmp_path):
    import shutil

    for _ in range(10):
        client.increase_seq("k")
    client.close()
    time.sleep(0.1)
    shutil.copy(tmp_path / "ceilings.db", tmp_path / "backup.db")
    again = client_of(client.test_server, step=50)
    for _ in range(300):
        again.increase_seq("k")
    again.close()
    restored = client_of(client.test_server, ceilings=f"sqlite:///{tmp_path}/backup.db")
    restored.increase_seq("other")  # the epoch is known: only the cell tells
    client.test_server.admin("FUNCTION", "FLUSH")
    with pytest.raises(CeilingError, match="Redis has ceiling") as caught:
        restored.increase_seq("k")
    assert caught.value.reason == "rolled_back"
    assert admin.raise_all(restored.store, 1000, [(b"k", 310)]) == 2
    client.test_server.admin("FUNCTION", "FLUSH")
    assert restored.increase_seq("k") > 1310


@pytest.fixture(autouse=True)
def _name_server(request: pytest.FixtureRequest) -> None:
    if "client" in request.fixturenames:
        made = request.getfixturevalue("client")
        made.test_server = request.getfixturevalue("durable_server")
