"""Fixtures: the faces of durable mode, each over a private server and store."""

from __future__ import annotations

import pytest
from conftest import make_face

from seqcache.testing import Faults

STEP = 50
CAP = 2**53 - 1
# A disk may take its time to sync.
DEFAULTS = {"step": STEP, "timeout": 20.0, "startup_timeout": 20.0}


@pytest.fixture(params=["sync-tcp", "async-tcp", "async-uvloop"])
def anyface(request):
    face = make_face(request.param, "redis://127.0.0.1:1/0")
    yield face
    face.close()


@pytest.fixture
def face(anyface, durable_server, url):
    """A face that opens durable caches at the shared server."""
    anyface.url = durable_server.url
    plain = anyface.open

    def opened(config=None, **options):
        return plain(config, **(DEFAULTS | {"ceilings": url} | options))

    anyface.open_plain = plain
    anyface.open = opened
    return anyface


@pytest.fixture
def cache(face):
    return face.open()


def lossy(face, server, **options):
    """A durable cache behind faults; warm, so that one FCALL counts."""
    faults = Faults(server.url)
    cache = face.open(faults.url, **options)
    cache.increase_seqs(["alice", "bob"])
    return faults, cache
