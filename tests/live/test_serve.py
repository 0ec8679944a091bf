"""`seqcache serve`: the page, the metrics, the probe."""
# ruff: noqa: F811 - fixtures are arguments by their names

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import time
from urllib.parse import urlsplit

import pytest
from command import SEQCACHE, environ, run

__all__ = ["environ", "run"]


class Served:
    """A running `seqcache serve`."""

    def __init__(self, environ, *words):
        command = [*SEQCACHE, "serve", "--port", "0", "--interval", "0.1", "--json"]
        self.process = subprocess.Popen(
            [*command, *words], stdout=-1, stderr=-1, env=environ
        )
        self.url = json.loads(self.process.stdout.readline())["url"]

    def ask(self, path, method="GET", **headers):
        """(status, headers, body) of one request."""
        parts = urlsplit(self.url)
        link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        link.request(method, path, headers=headers)
        answer = link.getresponse()
        body = answer.read().decode()
        link.close()
        return answer.status, answer.headers, body

    def wait_for(self, fits):
        """The data of the page, once they fit."""
        end = time.monotonic() + 20
        while not fits(data := json.loads(self.ask("/data.json")[2])):
            assert time.monotonic() < end, data
            time.sleep(0.05)
        return data

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors.decode()


@pytest.fixture
def serving(environ):
    made = []

    def start(*words):
        made.append(Served(environ, *words))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()


def test_page_and_its_files_are_served_and_nothing_from_elsewhere(serving, server):
    served = serving()
    for path, kind in (("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")):
        status, headers, body = served.ask(path)
        assert (status, headers["Content-Type"]) == (200, f"text/{kind}; charset=utf-8")
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "//" not in body.replace("http://www.w3.org/2000/svg", "").replace(
            "// ", ""
        )
    assert served.ask("/nothing")[0] == 404
    assert served.ask("/../cli/serve.py")[0] == 404


def test_data_tell_rates_and_ids_with_all_their_digits(serving, server):
    server.admin("SET", "seq:alice", 2**62)
    server.admin("SET", "seq:<b>\x1b", 1)
    served = serving()
    served.wait_for(lambda data: data["look"]["known"] == 2)
    server.admin("INCR", "seq:alice")
    data = served.wait_for(lambda data: data["look"]["ids"])
    (alice,) = data["look"]["ids"]
    assert (alice["id"], alice["seq"]) == ("alice", str(2**62 + 1))
    data = served.wait_for(lambda data: len(data["history"]["time"]) > 2)
    assert {len(values) for values in data["history"].values()} == {
        len(data["history"]["time"])
    }
    assert data["look"]["trouble"] == ""


def test_ids_can_be_hidden(serving, server):
    server.admin("MSET", "seq:alice", 5, "seq:bob", 5)
    served = serving("--no-ids")
    served.wait_for(lambda data: data["look"]["known"] == 2)
    server.admin("MSET", "seq:alice", 9, "seq:bob", 1)
    data = served.wait_for(lambda data: data["look"]["back"])
    assert (data["look"]["ids"], data["look"]["back"]) == ([], [""])
    assert "alice" not in served.ask("/metrics")[2]


def test_metrics_are_those_of_prometheus_without_ids(serving, server):
    parser = pytest.importorskip("prometheus_client.parser")
    server.admin("SET", "seq:alice", 5)
    status, headers, text = serving().ask("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {
        family.name: family for family in parser.text_string_to_metric_families(text)
    }
    assert found["seqcache_server_up"].samples[0].value == 1
    commands = found["seqcache_server_commands"]
    assert commands.type == "counter"
    assert "set" in [sample.labels["command"] for sample in commands.samples]
    assert "alice" not in text


def test_probe_follows_the_server(serving, own_server):
    served = serving("--url", f"{own_server.url}?timeout=2")
    assert served.ask("/healthz")[::2] == (200, "ok\n")
    own_server.kill()
    served.wait_for(lambda data: data["look"]["trouble"])
    status, _, text = served.ask("/healthz")
    assert (status, "refused" in text) == (503, True)
    assert "seqcache_server_up{" in served.ask("/metrics")[2]
    assert " 0\n" in served.ask("/metrics")[2]
    own_server.start()
    served.wait_for(lambda data: not data["look"]["trouble"])
    assert served.ask("/healthz")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_only_reads(serving, server, method):
    assert serving().ask("/", method)[0] == 501


def test_head_has_no_body(serving, server):
    status, headers, body = serving().ask("/healthz", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "3", "")


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 403), ("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:8", 200)],
)
def test_page_of_elsewhere_cannot_read_through_a_name(serving, server, host, status):
    assert serving().ask("/data.json", Host=host)[0] == status


def test_listens_on_loopback_and_warns_elsewhere(serving, server):
    served = serving()
    assert urlsplit(served.url).hostname == "127.0.0.1"
    assert served.end() == (130, "")
    open_ = serving("--host", "0.0.0.0")
    code, errors = open_.end(signal.SIGTERM)
    assert code == 130
    assert "no password: whoever reaches" in errors


def test_client_that_says_nothing_does_not_hold_it_up(serving, server):
    served = serving()
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port)):
        assert served.ask("/healthz")[0] == 200
        assert served.end() == (130, "")


def test_port_that_is_taken_is_told(run, server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = run("serve", "--port", port)
    assert (code, out) == (2, "")
    assert "cannot listen on 127.0.0.1" in err
    assert "hint: --port 0" in err


def test_server_that_is_away_at_the_start_is_3(run, own_server):
    own_server.kill()
    assert run("serve", "--port", "0", "--url", own_server.url)[0] == 3
