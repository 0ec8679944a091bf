"""`seqcache migrate`: counters of another form, or under another prefix, become ours.

Forward only, as an import: it may be interrupted and started again, and be run a last
time when nobody writes the old counters any more.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from itertools import islice

from .. import ImportReport, SeqCache, _common
from .._steps import carry_out
from .._transfer import Import
from ..errors import ConfigError
from .output import Output, id_field, printable
from .progress import Bar
from .transfer import tell_interrupted
from .verbs import open_cache

PAGE = 100  # keys of one call of the script, which blocks the server meanwhile
TOLD = 1000

# The hash becomes a counter of its max_seq, at once and under the same key. Digits
# stay text: Lua's numbers are exact up to 2^53 only. SET takes the place of any type.
SCRIPT = """
local function whole(text)
  if not text or not string.match(text, '^%d+$') then return nil end
  text = string.gsub(text, '^0+(%d)', '%1')
  local most = '9223372036854775807'
  if #text > #most or (#text == #most and text > most) then return nil end
  return text
end
local out = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then
    local told = redis.call('HMGET', key, 'cur_seq', 'max_seq')
    local cur, max = whole(told[1]), whole(told[2])
    if not told[2] then out[i] = 'the hash has no max_seq'
    elseif not max then out[i] = 'max_seq is no whole number up to 2^63 - 1'
    elseif told[1] and not cur then out[i] = 'cur_seq is no whole number'
    elseif cur and (#cur > #max or (#cur == #max and cur > max)) then
      out[i] = 'cur_seq is above max_seq'
    else
      if ARGV[1] == 'write' then redis.call('SET', key, max) end
      out[i] = 'raised'
    end
  elseif kind == 'string' then
    out[i] = whole(redis.call('GET', key)) and 'ahead' or 'a text, no number'
  elseif kind == 'none' then out[i] = 'gone'
  else out[i] = 'a ' .. kind .. ', no hash' end
end
return out
"""


def migrate(args: Namespace, out: Output) -> int:
    """Bring counters over; print the report."""
    bar = Bar(out, "migrate", "keys")
    work = Migration(args.dry_run)
    try:
        with open_cache(args) as seqs, bar:
            if args.source == "sandcat-hash":
                steps = _hashes(seqs, work)
            else:
                steps = _prefix(seqs, args.source, work)
            for done in steps:
                bar(done, None)
    except KeyboardInterrupt:
        tell_interrupted(out, f"{bar.done:,} keys")
        raise
    _tell(args, out, work, bar.seconds)
    return 1 if work.bad else 0


class Migration:
    """What was found so far."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.raised = self.ahead = self.bad = 0
        self.bad_ids: list[tuple[str | bytes, str]] = []

    @property
    def read(self) -> int:
        """How many counters were looked at."""
        return self.raised + self.ahead + self.bad

    def spoil(self, user_id: str | bytes, reason: str) -> None:
        """Note an id that cannot be brought over."""
        self.bad += 1
        if len(self.bad_ids) < TOLD:
            self.bad_ids.append((user_id, reason))


def _tell(args: Namespace, out: Output, work: Migration, seconds: float) -> None:
    counts = (work.read, work.raised, work.ahead, work.bad)
    report = ImportReport(*counts, dry_run=work.dry_run)
    if out.json_lines:
        fields = report._asdict()
        del fields["bad_lines"]
        ids = [{**id_field(one), "reason": reason} for one, reason in work.bad_ids]
        out.record(**fields, bad_ids=ids, seconds=round(seconds, 3))
        return
    for one, reason in work.bad_ids:
        out.warn(f"{printable(one)}: {reason}")
    if work.bad > len(work.bad_ids):
        out.warn(f"{work.bad - len(work.bad_ids):,} more that cannot be used")
    out.line(str(report))
    if args.source != "sandcat-hash" and work.read and not work.dry_run:
        out.note("the old keys stay: once nobody writes them, run it a last time")


# --- hashes of sandcat ---------------------------------------------------------------


def _hashes(seqs: SeqCache, work: Migration) -> Iterator[int]:
    """Replace hashes at {prefix}{id} by counters; yield how many were looked at."""
    if seqs.config.location.kind not in ("tcp", "unix"):
        scheme = seqs.config.location.scheme
        raise ConfigError(f"there are no hashes at {scheme}://", option="url")
    mode = "look" if work.dry_run else "write"
    prefix = seqs._prefix
    pattern = _common.scan_pattern(prefix, "*")
    cursor: bytes | int = 0
    while True:
        cursor, page = seqs._execute(_common.scan_command(cursor, pattern))
        keys = _common.own_keys(page, prefix)
        for first in range(0, len(keys), PAGE):
            part = keys[first : first + PAGE]
            words: list[str | bytes | int] = ["EVAL", SCRIPT, len(part), *part, mode]
            for key, told in zip(part, seqs._execute(words), strict=True):
                _count(work, _common.user_id_of(key, prefix), told.decode())
            yield work.read
        if int(cursor) == 0:
            return


def _count(work: Migration, user_id: str | bytes, told: str) -> None:
    if told == "raised":
        work.raised += 1
    elif told == "ahead":
        work.ahead += 1
    elif told != "gone":
        work.spoil(user_id, told)


# --- another prefix ------------------------------------------------------------------


def _prefix(seqs: SeqCache, old: str | bytes, work: Migration) -> Iterator[int]:
    """Raise the ids of this prefix to the numbers of an old one."""
    source = seqs.namespace(old)
    if source._prefix == seqs._prefix:
        raise ConfigError(
            "the old prefix is the new one",
            option="from",
            hint="--prefix says where the counters go to",
        )
    task = Import(seqs, work.dry_run)
    found = _own(source, seqs._prefix)
    while pairs := list(islice(found, task.size)):
        if seqs.config.ceilings is not None:  # a scan reads counters unverified
            ids = [one for one, _ in pairs]
            pairs = list(zip(ids, source.get_seqs(ids), strict=True))
        rows = [
            (number, one.encode() if isinstance(one, str) else one, seq)
            for number, (one, seq) in enumerate(pairs)
        ]
        carry_out(task.batch(rows), seqs, {})
        for line, reason in task.tally.take_bad():
            work.spoil(pairs[line][0], reason)
        work.raised, work.ahead = task.tally.raised, task.tally.ahead
        yield work.read


def _own(source: SeqCache, new: bytes) -> Iterator[tuple[str | bytes, int]]:
    """Yield the counters of the old prefix, but not those that are under the new one.

    `seq` and `seq:`: what was just brought over would be found again and again.
    """
    old = source._prefix
    inside = new[len(old) :] if new.startswith(old) else None
    for user_id, seq in source.scan():
        raw = user_id.encode() if isinstance(user_id, str) else user_id
        if inside is None or not raw.startswith(inside):
            yield user_id, seq
