"""Projects with tests, and a notebook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecosystem.programs import run, wait_without_clients

pytestmark = pytest.mark.timeout(400)  # the first one makes the environment

TESTS = """
import asyncio
import os

import pytest
import seqcache


def test_the_fixtures(seq_cache, seqcache_url):
    assert seq_cache.increase_seq("alice") == 1
    with seqcache.cache(seqcache_url) as other:
        assert other.increase_seq("alice") == 2


def test_the_reply_got_lost(seq_cache, seqcache_faults):
    seqcache_faults.lose_reply()
    with pytest.raises(seqcache.OutcomeUnknown):
        seq_cache.increase_seq("alice")
    assert seq_cache.get_seq("alice") == 1


@pytest.mark.asyncio
async def test_on_a_loop(async_seq_cache_factory):
    cache = await async_seq_cache_factory()
    assert await asyncio.gather(*map(cache.increase_seq, "aaa")) == [1, 2, 3]


@pytest.mark.anyio
async def test_with_anyio(async_seq_cache_factory):
    async with async_seq_cache_factory() as cache:
        assert await cache.increase_seq("alice") == 1


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize("n", range(8))
def test_of_many(seq_cache, n):
    assert [seq_cache.increase_seq("bob") for _ in range(20)] == [*range(1, 21)]
"""
# An application may run its tests in the process that has imported everything.
INSIDE = "import sys, seqcache.testing, pytest; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.parametrize("start", [["-m", "pytest"], ["-c", INSIDE]])
@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_pytest_project(bin_folder: Path, tmp_path: Path, start, workers):
    (tmp_path / "test_it.py").write_text(TESTS)
    options = ["-q", "-W", "error", "-o", "asyncio_default_fixture_loop_scope=function"]
    said = run(bin_folder / "python", *start, *options, *workers, tmp_path)
    assert "12 passed" in said


def test_notebook(bin_folder: Path, server):
    said = run(bin_folder / "python", "notebook.py", SEQCACHE_URL=server.url)
    outputs = json.loads(said)
    shown = [cell[0]["data"] if cell else {} for cell in outputs]
    texts = [data.get("text/plain") for data in shown]
    assert texts[2:4] == ["1", "[2, 3, 4]"]
    assert texts[5] == "5"
    assert "<table" in shown[6]["text/html"]
    assert server.admin("GET", "seq:nb") == b"5"
    wait_without_clients(server)
