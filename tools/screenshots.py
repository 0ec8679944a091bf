"""Make the pictures in docs/img, all from the real thing.

    python tools/screenshots.py [top doctor bench serve docs notebook]

A private server under load, the real commands on a terminal of their own, the pages in
a headless chromium. Needs redis-server, chromium and what `make docs` installs; the
picture of `bench` wants a quiet machine, and hiredis for redis-py.
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
import tempfile
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
MOST_BYTES = 150_000  # of a picture: it is in every checkout
PAGES = {"docs": "index", "notebook": "tutorial"}
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


def photograph(page: str, name: str, size: str, *flags: str) -> None:
    """Write what a browser shows at an address, in a window of that size."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("no chromium on PATH (Debian: apt-get install chromium)")
    image = IMAGES / f"{name}.png"
    plain = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    words = [*plain, f"--window-size={size}", *flags, f"--screenshot={image}", page]
    subprocess.run([browser, *words], check=True, capture_output=True, timeout=120)
    if image.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{image} has {image.stat().st_size} bytes")
    print(image)


def serve(url: str) -> None:
    """Take the picture of the status page."""
    words = [*SEQCACHE, "serve", "--port", "0", "--interval", "0.5", "--json"]
    with (
        loaded(url),
        subprocess.Popen([*words, "--url", url, "--top", "10"], stdout=-1) as served,
    ):
        assert served.stdout is not None
        page = json.loads(served.stdout.readline())["url"]
        time.sleep(20)
        photograph(page, "cli-serve", "1180,830", "--virtual-time-budget=3000")
        served.terminate()


def pages(names: list[str]) -> None:
    """Take pictures of pages of the documentation, built as `make docs` builds them."""
    with tempfile.TemporaryDirectory() as folder:
        site = f"{folder}/html"  # what executes the notebook writes beside it
        words = [sys.executable, "-m", "sphinx", "-q", "-W", str(ROOT / "docs"), site]
        subprocess.run(words, check=True, timeout=300)
        for name in names:
            photograph(f"file://{site}/{PAGES[name]}.html", name, "1180,830")


def main() -> None:
    """Take the pictures that are named, or all."""
    wanted = sys.argv[1:] or ["top", "doctor", "bench", "serve", *PAGES]
    IMAGES.mkdir(exist_ok=True)
    if named := [name for name in wanted if name in PAGES]:
        pages(named)
    with Server() as server:
        url = f"redis://{server.host}:{server.port}/0"
        for name in wanted:
            if name in PAGES:
                continue
            if name == "top":
                top(url)
            elif name == "serve":
                serve(url)
            else:
                command(name, name, "--url", url)


if __name__ == "__main__":
    main()
