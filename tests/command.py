"""Fixtures that run the command line as a process of its own, on a terminal or not."""

from __future__ import annotations

import codecs
import contextlib
import os
import pty
import subprocess
import sys
import termios
import time

import pytest

SEQCACHE = [sys.executable, "-m", "seqcache"]


@pytest.fixture
def environ(server):
    """The environment of the process: of ours only the server's address."""
    names = [name for name in os.environ if not name.startswith("SEQCACHE_")]
    words = {name: os.environ[name] for name in names}
    for name in ("REDIS_URL", "NO_COLOR"):
        words.pop(name, None)
    return {**words, "SEQCACHE_URL": server.url, "PYTHONWARNINGS": "error"}


@pytest.fixture
def run(environ):
    """`run("get", "alice")` -> (exit code, standard output, standard error)."""

    def call(*args, **more):
        done = subprocess.run(
            [*SEQCACHE, *args],
            capture_output=True,
            text=True,
            timeout=50,
            env={**environ, **more},
        )
        return done.returncode, done.stdout, done.stderr

    return call


class Terminal:
    """A process that believes it has a person before it."""

    def __init__(self, words, environ):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self.slave)
        self.process = subprocess.Popen([*SEQCACHE, *words], env=environ, **streams)
        self.text = ""
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def read_until(self, wanted, seconds=30.0):
        """Read until the text appeared, or the process ended."""
        end = time.monotonic() + seconds
        os.set_blocking(self.master, False)
        while wanted not in self.text:
            assert time.monotonic() < end, self.text
            with contextlib.suppress(BlockingIOError):
                self.text += self.decode(os.read(self.master, 65536))
                continue
            if self.process.poll() is not None:
                return
            time.sleep(0.005)

    def press(self, keys):
        os.write(self.master, keys)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(environ):
    made = []

    def start(*words, **more):
        made.append(Terminal(words, {**environ, "TERM": "xterm", **more}))
        return made[-1]

    yield start
    for one in made:
        one.close()
