"""Make docs/img/cli-*: the pictures of `top`, `doctor`, `bench` and `serve`.

    python tools/screenshots.py [top doctor bench serve]

From the real thing: a private server under load, the real commands on a terminal of
their own, and the page in a headless chromium. Needs rich, redis-server and chromium;
the picture of `bench` wants a quiet machine, and hiredis for redis-py.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import seqcache  # noqa: E402
from bench.server import Server  # noqa: E402
from seqcache.cli.sampler import Sampler  # noqa: E402
from seqcache.cli.top_rich import frame  # noqa: E402

IMAGES = ROOT / "docs" / "img"
COLUMNS, LINES = 100, 28
SEQCACHE = [sys.executable, "-m", "seqcache"]


@contextlib.contextmanager
def loaded(url: str) -> Iterator[None]:
    """Keep some users busy, some more than others."""
    stop = threading.Event()

    def work() -> None:
        users = [f"user-{number}" for number in range(60)]
        weights = [1 / (number + 1) for number in range(60)]
        with seqcache.cache(url) as cache:
            while not stop.wait(0.005):
                share = 20 + 10 * (1 + time.monotonic() % 20 / 20)
                cache.increase_seqs(random.choices(users, weights, k=int(share)))
                cache.get_seq("user-1")

    with seqcache.cache(url) as cache:
        cache.raise_seqs((f"quiet-{n}", n + 1) for n in range(4000))
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def save(console: Console, name: str, title: str) -> None:
    """Write what a console recorded."""
    IMAGES.mkdir(exist_ok=True)
    console.save_svg(str(IMAGES / f"cli-{name}.svg"), title=title)
    print(IMAGES / f"cli-{name}.svg")


def recorder(lines: int = LINES) -> Console:
    """Return a console that records and shows nothing."""
    sink = open(os.devnull, "w")  # noqa: SIM115 - as long as the console
    return Console(
        file=sink, record=True, width=COLUMNS, height=lines, force_terminal=True
    )


def on_a_terminal(*words: str) -> str:
    """Run a command on a terminal of its own; return what it showed at last."""
    master, slave = pty.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color"}
    environ.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*SEQCACHE, *words], stdin=slave, stdout=slave, stderr=slave, env=environ
    ):
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal has no other side any more
            while part := os.read(master, 65536):
                shown += part
    os.close(master)
    text = shown.decode("utf-8", "replace").replace("\r\n", "\n")
    # A line of progress is replaced by what follows a carriage return.
    return "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))


def command(name: str, *words: str) -> None:
    """Take the picture of a command that ends by itself."""
    text = on_a_terminal(*words).replace("\x1b[K", "")
    console = recorder()
    console.print(Text(f"$ seqcache {words[0]}", "bold"))
    console.print(Text.from_ansi(text.rstrip()), soft_wrap=True)
    save(console, name, "seqcache")


def top(url: str) -> None:
    """Take the picture of the live view."""
    with seqcache.cache(url) as cache, loaded(url):
        sampler = Sampler(cache)
        rates: deque[float] = deque(maxlen=60)
        sampler.look()
        for _ in range(60):
            time.sleep(0.2)
            look = sampler.look()
            rates.append(look.per_second)
    console = recorder()
    console.print(frame(look, rates, LINES - 11))
    save(console, "top", "seqcache top")


def serve(url: str) -> None:
    """Take the picture of the status page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("no chromium on PATH (Debian: apt-get install chromium)")
    words = [*SEQCACHE, "serve", "--port", "0", "--interval", "0.5", "--json"]
    with (
        loaded(url),
        subprocess.Popen([*words, "--url", url, "--top", "10"], stdout=-1) as served,
    ):
        assert served.stdout is not None
        page = json.loads(served.stdout.readline())["url"]
        time.sleep(20)
        image = IMAGES / "cli-serve.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--window-size=1180,830", "--virtual-time-budget=3000"]
        subprocess.run(
            [browser, *flags, f"--screenshot={image}", page],
            check=True,
            capture_output=True,
            timeout=120,
        )
        served.terminate()
    print(image)


def main() -> None:
    """Take the pictures that are named, or all."""
    wanted = sys.argv[1:] or ["top", "doctor", "bench", "serve"]
    IMAGES.mkdir(exist_ok=True)
    with Server() as server:
        url = f"redis://{server.host}:{server.port}/0"
        for name in wanted:
            if name == "top":
                top(url)
            elif name == "serve":
                serve(url)
            else:
                command(name, name, "--url", url)


if __name__ == "__main__":
    main()
