"""The fixture of faults, in projects of users."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"

USES = """
    import asyncio

    import pytest
    import seqcache

    def test_fixtures_lead_through_it(seq_cache, seqcache_url, seqcache_faults):
        seqcache_faults.lose_reply(command="GET")
        assert seqcache_faults.url == seqcache_url
        assert seq_cache.get_seq("alice") == 0  # read again, on a new connection
        assert [words[0] for words in seqcache_faults.calls] == [b"GET", b"GET"]

    def test_asyncio_too(async_seq_cache_factory, seqcache_faults):
        async def main():
            async with async_seq_cache_factory(retry="gap") as cache:
                seqcache_faults.lose_reply()
                return await cache.increase_seq("alice")

        assert asyncio.run(main()) == 2

    def test_the_next_test_is_healthy(seq_cache):
        assert seq_cache.increase_seq("alice") == 1

    @pytest.mark.usefixtures("seqcache_faults")
    def test_marked(seqcache_url, request):
        assert seqcache_url == request.getfixturevalue("seqcache_faults").url
"""


def readme_example():
    """The test in the README."""
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.M | re.S)
    (example,) = [block for block in blocks if "seqcache_faults" in block]
    return example


def test_faults_before_a_private_server(live_project):
    live_project.write("test_it.py", USES)
    live_project.write("test_readme.py", readme_example())
    live_project.passes(5)


def test_faults_without_a_server(project):
    project.hide_servers()
    project.write(
        "test_it.py", USES.replace("def test_the_next", "def no_test_the_next")
    )
    project.write("test_readme.py", readme_example())
    project.passes(4)


def test_faults_that_come_too_late_are_refused(project):
    project.write(
        "test_it.py",
        """
        def test_it(seq_cache, request):
            request.getfixturevalue("seqcache_faults").lose_reply()
        """,
    )
    ran = project.run("--seqcache-url", "memory://")
    assert ran.outcomes == {"failed": 1}
    assert "seqcache_faults must be an argument of the test" in ran.text


def test_readme_lists_the_fixtures():
    import _seqcache_pytestplugin as plugin

    listed = re.findall(r"^\| `(\w*seq_?cache\w*)", README.read_text(), re.M)
    known = [
        name
        for name, item in vars(plugin).items()
        if "Fixture" in type(item).__name__ and not name.startswith("_")
    ]
    assert sorted(listed) == sorted(known)
    assert len(known) == 6


def test_durable_mode_begins_anew_in_each_test(live_project):
    live_project.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.parametrize("n", range(2))
        def test_numbers_rise_whatever_is_lost(
            seq_cache_factory, seqcache_faults, tmp_path, n
        ):
            ceilings = f"sqlite:///{tmp_path}/ceilings.db"
            cache = seq_cache_factory(ceilings=ceilings, timeout=20.0)
            numbers = [cache.increase_seq("alice") for _ in range(3)]
            lost = seqcache_faults.lose_reply(command="FCALL")
            numbers.append(cache.increase_seq("alice", token="message-1"))
            assert lost.fired
            seqcache_faults.go_back()
            numbers.append(cache.increase_seq("alice"))
            assert numbers[:4] == [1, 2, 3, 4]
            assert numbers[4] > 4
        """,
    )
    live_project.passes(2)
