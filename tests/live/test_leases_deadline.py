"""A call of a lease has one deadline, however many blocks it waits for."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import Future

import pytest

import seqcache
from fakes import node as faults


def test_a_block_is_not_asked_for_again_after_the_deadline(net_face, node):
    cache = net_face.open(node.url, timeout=0.2)
    node.on("INCRBY", faults.ignore, times=math.inf)
    with pytest.raises(seqcache.OutcomeUnknown) as caught:
        cache.lease("alice", size=10).next()
    assert "ask the lease again" in caught.value.hint
    assert node.seen("INCRBY") == 1


def test_who_waited_for_a_block_until_the_deadline_gets_its_error(node):
    error = seqcache.ConnectError("no way")
    with seqcache.cache(node.url, timeout=0.1) as cache:
        lease = cache.lease("alice", size=10)
        job = lease._job = Future()
        job.set_running_or_notify_cancel()

        def fail():
            time.sleep(0.2)
            lease._terms.failed_behind(error)
            lease._finished(job)
            job.set_result(None)

        helper = threading.Thread(target=fail)
        helper.start()
        with pytest.raises(seqcache.ConnectError) as caught:
            next(lease)
        helper.join()
        assert caught.value is error
        assert node.seen("INCRBY") == 0
        assert next(lease) == 1  # this call has a deadline of its own


def test_those_with_time_left_go_on_when_another_is_told(node):
    async def main():
        async with seqcache.acache(node.url, timeout=0.8) as cache:
            lease = cache.lease("alice", size=10)
            node.on("INCRBY", faults.hang, nth=1)
            first = lease.next()
            await asyncio.sleep(0.6)
            second = lease.next()
            with pytest.raises(seqcache.OutcomeUnknown):
                await first
            assert not second.done()
            node.drop_all()  # the link that hangs
            assert await second >= 1

    asyncio.run(main())


def test_lease_outside_of_a_loop_shows_the_way():
    async def main():
        return (await seqcache.acache("memory://")).lease("alice")

    lease = asyncio.run(main())
    for method, call in {"next": lease.next, "take": lambda: lease.take(2)}.items():
        with pytest.raises(RuntimeError, match=rf"await lease\.{method}\(") as caught:
            call()
        assert "cache.lease" not in str(caught.value)
    asyncio.run(lease._client.aclose())
