"""A backend of one's own: sequences in an SQLite file, durable and slow.

    seqcache.register_backend("lite", LiteBackend)
    cache = seqcache.cache("lite:///var/lib/app/seqs.db")

As an installed package it needs no registration, only this in its pyproject.toml:

    [project.entry-points."seqcache.backends"]
    lite = "sqlite_backend:LiteBackend"
"""

import sqlite3
import threading

from seqcache import SequenceOverflow

MOST = 2**63 - 1
TABLE = "CREATE TABLE IF NOT EXISTS seqs (key BLOB PRIMARY KEY, seq INTEGER NOT NULL)"
READ = "SELECT seq FROM seqs WHERE key = ?"
WRITE = "REPLACE INTO seqs VALUES (?, ?)"


class LiteBackend:
    """A `seqcache.Backend`: one connection, one lock, one transaction for each call."""

    def __init__(self, config):
        self._db = sqlite3.connect(config.location.path, check_same_thread=False)
        self._lock = threading.Lock()
        with self._lock, self._db:
            self._db.execute(TABLE)

    def _change(self, pairs, change):
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")  # other processes wait here
            return [self._set(key, change(self._read(key), to)) for key, to in pairs]

    def _read(self, key):
        row = self._db.execute(READ, (key,)).fetchone()
        return row[0] if row else 0

    def _set(self, key, seq):
        if seq > MOST:
            return SequenceOverflow("the sequence would pass 2**63 - 1")
        self._db.execute(WRITE, (key, seq))
        return seq

    def get(self, keys, *, timeout):
        with self._lock:
            return [self._read(key) for key in keys]

    def increase(self, keys, by, *, timeout):
        return self._change([(key, by) for key in keys], lambda seq, by: seq + by)

    def raise_to(self, items, *, timeout):
        return self._change(items, max)

    def scan(self, prefix):
        with self._lock:
            rows = self._db.execute("SELECT * FROM seqs").fetchall()
        return (row for row in rows if row[0].startswith(prefix))

    def ping(self, *, timeout):
        self.get([b""], timeout=timeout)

    def close(self):
        self._db.close()
