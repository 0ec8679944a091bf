"""The logger `seqcache`: no user id at INFO or above, no secret anywhere."""

from __future__ import annotations

import logging
import math

import pytest

import seqcache
from fakes.node import answer
from seqcache._log import background_failed


def said(caplog, level):
    """What was logged at a level or above."""
    found = [r.getMessage() for r in caplog.records if r.levelno >= level]
    assert {record.name for record in caplog.records} <= {"seqcache"}
    return "\n".join(found)


def test_lost_numbers_are_told_without_the_id_and_at_debug_with_it(
    server, live_face, caplog
):
    caplog.set_level(logging.DEBUG, "seqcache")
    cache = live_face.open()
    cache.increase_seq("alice", 10)
    server.admin("SET", "seq:alice", 5)
    assert cache.increase_seq("alice") == 6
    told = said(caplog, logging.INFO)
    assert "increase_seq() started again at 6, but 10 was given before" in told
    assert "alice" not in told
    assert "increase_seq('alice')" in said(caplog, logging.DEBUG)


def test_ordinary_life_is_silent(server, live_face, caplog):
    caplog.set_level(logging.DEBUG, "seqcache")
    with live_face.open() as cache:
        cache.increase_seqs(["alice", "bob"])
        with pytest.raises(ValueError, match="by"):
            cache.increase_seq("alice", by=0)
        cache.scan()
    assert said(caplog, logging.DEBUG) == ""


@pytest.mark.parametrize("password", ["hunter2", "s3cr3t%20x"])
def test_no_secret_is_logged_or_shown(node, net_face, caplog, password):
    caplog.set_level(logging.DEBUG)
    node.on("*", answer(b"-WRONGPASS no\r\n"), times=math.inf)
    url = node.url.replace("://", f"://app:{password}@")
    with pytest.raises(seqcache.AuthError) as caught:
        net_face.open(url)
    for text in (caplog.text, str(caught.value), repr(caught.value.__cause__)):
        assert "hunter2" not in text
        assert "s3cr3t" not in text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("alice"), "background work failed: ValueError"),
        (
            seqcache.CeilingError("seq:alice: gone", reason="rolled_back"),
            "background work failed: CeilingError, rolled_back",
        ),
        (
            seqcache.CeilingError("the store is away", reason="unavailable"),
            "background work failed: the store is away",
        ),
    ],
)
def test_background_work_tells_the_kind_and_at_debug_the_text(caplog, error, told):
    caplog.set_level(logging.DEBUG, "seqcache")
    background_failed(error)
    assert said(caplog, logging.INFO) == told
    assert str(error) in caplog.text
