"""The programs of examples/ that the how-to pages show."""

from __future__ import annotations

import asyncio
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


async def fastapi_answers(app):
    import httpx

    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        url = "/conversations/room/messages"
        key = {"Idempotency-Key": "message-1"}
        answers = [await client.post(url)]
        answers += [await client.post(url, headers=key) for _ in range(2)]
        answers.append(await client.get("/conversations/room"))
    return [answer.json()["seq"] for answer in answers]


def test_fastapi_request_repeated_with_its_key_gets_its_number(example):
    answers = asyncio.run(fastapi_answers(example("fastapi_app").app))
    assert answers == [1, 2, 2, 2]


async def aiohttp_numbers(app):
    from aiohttp.test_utils import TestClient, TestServer

    async with TestClient(TestServer(app)) as client:
        url = "/conversations/room/messages"
        return [(await (await client.post(url)).json())["seq"] for _ in range(3)]


def test_aiohttp_counts(example):
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
