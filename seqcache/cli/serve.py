"""`seqcache serve`: a page, metrics and a probe over HTTP; it only reads."""

from __future__ import annotations

import json
import os
import signal
import socket
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from .. import _metrics, cache
from ..errors import ConfigError
from .output import Output, printable
from .sampler import Look, Sampler
from .top import foot_of
from .verbs import config_of, passive
from .watch import Watch, metrics

LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Nothing from elsewhere, and no script that is not ours, whatever an id says.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src "
    "'self' 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


def serve(args: Namespace, out: Output) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    top = 0 if args.no_ids else args.top
    with cache(passive(config_of(args))) as seqs:
        watch = Watch(Sampler(seqs, top), args.interval)
        with closing(watch), _listen(args, watch) as server:
            before = signal.signal(signal.SIGTERM, _interrupt)
            try:
                _announce(args, out, server)
                server.serve_forever(poll_interval=0.1)
            finally:
                signal.signal(signal.SIGTERM, before)
    return 0


def _announce(args: Namespace, out: Output, server: ThreadingHTTPServer) -> None:
    host, port = str(server.server_address[0]), server.server_address[1]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    if args.host not in LOOPBACK:
        shown = "" if args.no_ids else ", user ids too (--no-ids hides them)"
        out.warn(f"no password: whoever reaches {address} can read it{shown}")
    if out.json_lines:
        out.record(url=address, metrics=f"{address}metrics", pid=os.getpid())
    else:
        out.line(f"{address}  (Ctrl-C ends)")
    out.finish()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _listen(args: Namespace, watch: Watch) -> ThreadingHTTPServer:
    handler = partial(Handler, watch, args.host in LOOPBACK, args.no_ids)

    class Server(ThreadingHTTPServer):
        address_family = _family(args.host)
        daemon_threads = True

    try:
        return Server((args.host, args.port), handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on {args.host}:{args.port}: {error}",
            option="port",
            hint="--port 0 takes a free one",
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; anything else is refused by the base class."""

    server_version = "seqcache"
    sys_version = ""
    timeout = 10  # of a client that says nothing

    def __init__(self, watch: Watch, local: bool, hides: bool, *args: Any) -> None:
        self._watch = watch
        self._local = local
        self._hides = hides
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        answers: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/": partial(self._file, "page.html"),
            "/page.css": partial(self._file, "page.css"),
            "/page.js": partial(self._file, "page.js"),
            "/data.json": self._data,
            "/metrics": self._metrics,
            "/healthz": self._healthz,
        }
        answer = answers.get(path)
        if not self._is_meant():
            self._send(403, "text/plain", b"another host was asked for\n")
        elif answer is None:
            self._send(404, "text/plain", b"there is /, /metrics and /healthz\n")
        else:
            self._send(*answer())

    do_HEAD = do_GET

    def _is_meant(self) -> bool:
        """Refuse a page of elsewhere whose name was made to lead to this machine."""
        host = self.headers.get("Host", "")
        name = host.rpartition(":")[0] if not host.endswith("]") else host
        return not self._local or (name or host).strip("[]") in LOOPBACK

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        charset = "" if kind == "application/json" or ";" in kind else "; charset=utf-8"
        self.send_header("Content-Type", kind + charset)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _file(self, name: str) -> tuple[int, str, bytes]:
        body = files(__package__).joinpath("web", name).read_bytes()
        return 200, _KINDS[name.rpartition(".")[2]], body

    def _data(self) -> tuple[int, str, bytes]:
        points = self._watch.points()
        history = {
            name: [round(getattr(one, name), 6) for one in points]
            for name in ("time", "per_second", "latency")
        }
        data = {
            "look": _shown(self._watch.look, self._watch.trouble, self._hides),
            "history": history,
            "interval": self._watch.interval,
            "hides_ids": self._hides,
        }
        return 200, "application/json", json.dumps(data).encode()

    def _metrics(self) -> tuple[int, str, bytes]:
        text = _metrics.render(metrics(self._watch))
        return 200, _metrics.CONTENT_TYPE, text.encode()

    def _healthz(self) -> tuple[int, str, bytes]:
        trouble = self._watch.trouble
        text = f"{trouble}\n" if trouble else "ok\n"
        return 503 if trouble else 200, "text/plain", text.encode()

    def log_message(self, *_: Any) -> None:
        """Say nothing: a page that asks each second would fill the terminal."""


def _shown(look: Look, trouble: str, hides: bool) -> dict[str, Any]:
    """Return a look for the page; numbers are text, as JavaScript would round them."""
    fields = look._asdict()
    del fields["totals"]
    fields["commands"] = [one._asdict() for one in look.commands]
    fields["ids"] = [
        {
            "id": printable(one.user_id),
            "seq": str(one.seq),
            "per_second": one.per_second,
        }
        for one in look.ids
    ]
    fields["back"] = ["" if hides else printable(one) for one in look.back]
    fields["foot"] = foot_of(look)
    fields["trouble"] = trouble
    return fields
