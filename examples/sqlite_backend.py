"""A backend of one's own: sequences in an SQLite file, durable and slow.

    seqcache.register_backend("lite", LiteBackend)  # lite:///var/lib/app/seqs.db

An installed package registers nothing, its pyproject.toml says:

    [project.entry-points."seqcache.backends"]
    lite = "sqlite_backend:LiteBackend"
"""

import sqlite3
import threading

from seqcache import SequenceOverflow


class LiteBackend:
    """A `seqcache.Backend`: one connection, one lock, one transaction for each call."""

    def __init__(self, config):
        path, wait = config.location.path, config.timeout or 3600
        self._db = sqlite3.connect(path, timeout=wait, check_same_thread=False)
        self._lock = threading.Lock()
        self._db.execute("CREATE TABLE IF NOT EXISTS seqs (key BLOB PRIMARY KEY, seq)")

    def _change(self, pairs, change):
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")  # other processes wait here
            return [self._set(key, change(self._read(key), to)) for key, to in pairs]

    def _read(self, key):
        rows = self._db.execute("SELECT seq FROM seqs WHERE key = ?", (key,))
        return next(rows, (0,))[0]

    def _set(self, key, seq):
        if seq >= 2**63:
            return SequenceOverflow("the sequence would pass 2**63 - 1")
        self._db.execute("REPLACE INTO seqs VALUES (?, ?)", (key, seq))
        return seq

    def get(self, keys, *, timeout):
        with self._lock:
            return [self._read(key) for key in keys]

    def increase(self, keys, by, *, timeout):
        return self._change([(key, by) for key in keys], int.__add__)

    def raise_to(self, items, *, timeout):
        return self._change(items, max)

    def scan(self, prefix):
        query = "SELECT key, seq FROM seqs WHERE substr(key, 1, ?) = ?"
        with self._lock:
            return iter(self._db.execute(query, (len(prefix), prefix)).fetchall())

    def ping(self, *, timeout):
        self.get([b""], timeout=timeout)

    def close(self):
        self._db.close()
