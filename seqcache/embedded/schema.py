"""Tables and statements of an SQLite file of ceilings."""

from __future__ import annotations

#: As SQLAlchemy makes them from `seqcache.durable.tables`; a test compares.
TABLES = """
CREATE TABLE seq_epoch (
    epoch INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    d VARCHAR(80) NOT NULL,
    rnd VARCHAR(8) NOT NULL,
    run_id VARCHAR(40) NOT NULL,
    lease_ms INTEGER NOT NULL,
    state VARCHAR(8) NOT NULL,
    created DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE seq_ceiling (
    d VARCHAR(80) NOT NULL,
    k BLOB NOT NULL,
    ceiling BIGINT NOT NULL,
    base BIGINT NOT NULL,
    tok_floor BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    gid VARCHAR(16) NOT NULL,
    step INTEGER NOT NULL,
    raised_at BIGINT NOT NULL,
    PRIMARY KEY (d, k)
);
CREATE TABLE seq_version (
    id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id)
);
INSERT INTO seq_version (id, version) VALUES (1, 1);
"""
#: What tokens have counted: in files of ours alone.
TOKENS = """
CREATE TABLE IF NOT EXISTS seq_token (
    d VARCHAR(80) NOT NULL,
    k BLOB NOT NULL,
    token BLOB NOT NULL,
    last BIGINT NOT NULL,
    count BIGINT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (d, k, token)
);
CREATE INDEX IF NOT EXISTS seq_token_until ON seq_token (until);
"""

PUT = """
INSERT INTO seq_ceiling (d, k, ceiling, base, tok_floor, epoch, gid, step, raised_at)
VALUES (:d, :k, :ceiling, :base, :base, :epoch, :gid, :step, :raised_at)
ON CONFLICT (d, k) DO UPDATE SET
    ceiling = excluded.ceiling, base = excluded.base, tok_floor = excluded.tok_floor,
    epoch = excluded.epoch, gid = excluded.gid, step = excluded.step,
    raised_at = excluded.raised_at
"""
# The row is still the one that this process was granted, and was not passed.
LOWER = """
UPDATE seq_ceiling SET ceiling = :seq, base = :seq, tok_floor = :seq, epoch = 0
WHERE d = :d AND k = :k AND gid = :gid AND base <= :seq AND ceiling >= :seq
"""
RECALL = """
SELECT k, token, last, count, until FROM seq_token
WHERE d = ? AND k = ? AND token = ? AND until > ?
"""
REMEMBER = """
INSERT OR REPLACE INTO seq_token (d, k, token, last, count, until)
VALUES (?, ?, ?, ?, ?, ?)
"""
CLEAR_AWAY = """
DELETE FROM seq_token WHERE rowid IN
(SELECT rowid FROM seq_token WHERE until < ? ORDER BY until LIMIT ?)
"""
