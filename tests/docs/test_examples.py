"""The programs of examples/ that the how-to pages show."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from .conftest import ROOT


@pytest.fixture
def example(monkeypatch):
    """Import a program of examples/, its numbers in this process."""
    monkeypatch.setenv("SEQCACHE_URL", "memory://")

    def load(name):
        spec = importlib.util.spec_from_file_location(
            f"example_{name}", ROOT / "examples" / f"{name}.py"
        )
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_fastapi_request_repeated_with_its_key_gets_its_number(example):
    from fastapi.testclient import TestClient

    url = "/conversations/room/messages"
    with TestClient(example("fastapi_app").app) as client:
        key = {"Idempotency-Key": "message-1"}
        assert client.post(url).json() == {"seq": 1}
        assert client.post(url, headers=key).json() == {"seq": 2}
        assert client.post(url, headers=key).json() == {"seq": 2}
        assert client.get("/conversations/room").json() == {"seq": 2}


async def aiohttp_numbers(app):
    from aiohttp.test_utils import TestClient, TestServer

    async with TestClient(TestServer(app)) as client:
        url = "/conversations/room/messages"
        return [(await (await client.post(url)).json())["seq"] for _ in range(3)]


def test_aiohttp_counts(example):
    import asyncio

    made = example("aiohttp_app").make_app()
    assert asyncio.run(aiohttp_numbers(made)) == [1, 2, 3]


def test_django_view_counts(example):
    code = """if True:
        import django
        from django.conf import settings
        settings.configure(ROOT_URLCONF="django_app", ALLOWED_HOSTS=["*"])
        django.setup()
        from django.test import Client
        url = "/conversations/room/messages"
        print([Client().get(url).json()["seq"] for _ in range(3)])
        import django_app
        django_app.sequences().close()
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "examples",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("[1, 2, 3]\n", "")


def test_celery_task_delivered_twice_has_one_number(example):
    module = example("celery_app")
    module.app.conf.task_always_eager = True
    try:
        first = module.number.apply(args=["room"], task_id="a").get()
        again = module.number.apply(args=["room"], task_id="a").get()
        other = module.number.apply(args=["room"], task_id="b").get()
    finally:
        module.cache.close()
    assert (first, again, other) == (1, 1, 2)
