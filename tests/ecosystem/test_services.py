"""Services of several processes: no number twice, none left out."""

from __future__ import annotations

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from servers import free_port

from ecosystem.programs import Program, run, wait_without_clients

WORKERS = 4
THREADS = 8
CALLS = 50
START_SECONDS = 60.0


def post(port: int, path: str) -> list[int]:
    """One request on a connection of its own: (number, process id)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        found: list[int] = json.loads(body)
        return found
    finally:
        connection.close()


def wait_ready(program: Program, port: int) -> None:
    """Wait until something listens there."""
    end = time.monotonic() + START_SECONDS
    while program.process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(program.said())


def numbers_of(port: int) -> tuple[list[int], set[int]]:
    """Many requests at once, until every worker had some: numbers, process ids."""

    def work(_: int) -> list[list[int]]:
        return [post(port, "/alice") for _ in range(CALLS)]

    numbers: list[int] = []
    pids: set[int] = set()
    end = time.monotonic() + START_SECONDS
    while len(pids) < WORKERS and time.monotonic() < end:
        with ThreadPoolExecutor(THREADS) as pool:
            for number, pid in sum(pool.map(work, range(THREADS)), []):
                numbers.append(number)
                pids.add(pid)
    return numbers, pids


def is_dense(numbers: list[int]) -> bool:
    """Each number from 1 on, once."""
    return sorted(numbers) == list(range(1, len(numbers) + 1))


def test_fastapi_under_uvicorn_with_four_workers(start, server):
    port = free_port()
    words = ["fastapi_app:app", "--workers", WORKERS, "--port", port]
    program = start("uvicorn", *words, "--log-level", "warning")
    wait_ready(program, port)
    numbers, pids = numbers_of(port)
    assert is_dense(numbers), program.said()
    assert len(pids) == WORKERS
    assert server.client_count() == WORKERS
    assert program.stop() == 0, program.said()
    wait_without_clients(server)
    assert "Traceback" not in program.said()
    assert int(server.admin("GET", "seq:alice")) == len(numbers)


def test_gunicorn_that_opens_the_cache_before_it_forks(start, server):
    port = free_port()
    words = ["--preload", "--workers", WORKERS, "--threads", 2, "--worker-class"]
    words += ["gthread", "--bind", f"127.0.0.1:{port}", "gunicorn_app:app"]
    program = start("gunicorn", *words)
    wait_ready(program, port)
    numbers, pids = numbers_of(port)
    assert is_dense(numbers), program.said()
    assert len(pids) == WORKERS
    assert server.client_count() == WORKERS + 1  # and that of the parent
    assert program.stop() == 0, program.said()
    assert "Traceback" not in program.said()
    assert int(server.admin("GET", "seq:alice")) == len(numbers)


def test_celery_worker_whose_processes_inherit_the_cache(start, server, bin_folder):
    broker = f"{server.url[:-1]}1"
    words = ["-A", "celery_app", "worker", "--pool", "prefork", "-c", WORKERS]
    program = start("celery", *words, "--loglevel", "WARNING", BROKER=broker)
    urls = {"SEQCACHE_URL": server.url, "BROKER": broker}
    words = ["celery_send.py", "alice", THREADS * CALLS]
    said = run(bin_folder / "python", *words, **urls)
    answers = json.loads(said)
    assert is_dense([number for number, _ in answers]), program.said()
    assert len({pid for _, pid in answers}) > 1
    assert program.stop() == 0, program.said()
    assert "Traceback" not in program.said()
    wait_without_clients(server)


def test_wheel_has_the_plugin_and_no_tests(wheel: Path, bin_folder: Path) -> None:
    files = run(bin_folder / "python", "-m", "zipfile", "-l", wheel)
    assert "_seqcache_pytestplugin.py" in files
    assert "tests/" not in files
