"""The verb ``demo``: a tour of 20 seconds that checks what it shows."""

from __future__ import annotations

import secrets
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from .. import SeqCache, cache
from ..config import Config
from ..errors import SeqCacheError
from .output import Output, message_of, printable
from .stage import Quit, Stage
from .tour import SCENES
from .verbs import server_name


def demo(args: Namespace, out: Output) -> int:
    """Play all scenes; 1 if one of them did not show what it promises."""
    if args.durable:
        from .demo_durable import demo_durable

        return demo_durable(args, out)
    failed = []
    with own_keys(args, "demo", out) as seqs, Stage(out, fast=args.fast) as stage:
        _welcome(stage, seqs)
        try:
            for scene in SCENES:
                found = scene(stage, seqs)
                if out.json_lines:
                    out.record(scene=scene.__name__, **found)
                if not found["ok"]:
                    failed.append(scene.__name__)
        except Quit:
            return 0
    if not stage.silent:
        _farewell(out, failed)
    return 1 if failed else 0


@contextmanager
def own_keys(args: Namespace, name: str, out: Output) -> Iterator[SeqCache]:
    """Open a cache whose keys are its own and are gone afterwards.

    They begin with the prefix that the user gave, so that an ACL which allows the
    user's sequences allows these.
    """
    # The environment's server is for work; a tour goes there only when told.
    url = args.url or ("memory://" if name == "demo" else None)
    config = Config.coerce(
        url, **({} if args.prefix is None else {"prefix": args.prefix})
    )
    ours = config.key_prefix + f"{name}-{secrets.token_hex(4)}:".encode()
    if config.location.kind == "memory":
        # Both faces see one store if it has a name.
        config = config.replace(url=f"memory://{ours.hex()}")
    with cache(config, prefix=ours) as seqs:
        try:
            yield seqs
        finally:
            _remove(seqs, out)


def _remove(seqs: SeqCache, out: Output) -> None:
    """Delete the keys; a failure is told and hides no error of the run itself."""
    try:
        for user_id, _ in list(seqs.scan()):
            seqs.delete_seq(user_id, restart_from_one=True)
    except SeqCacheError as error:
        prefix = printable(seqs.config.key_prefix)
        out.warn(f"keys that begin with {prefix} remain: {message_of(error)}")


def _welcome(stage: Stage, seqs: SeqCache) -> None:
    out = stage.out
    if stage.silent:
        return
    out.line(
        out.style("seqcache: numbers for users, in Redis or in this process", "bold")
    )
    in_memory = seqs.config.location.kind == "memory"
    where = "memory:// (no server needed)" if in_memory else server_name(seqs)
    keys = " Space goes on, q ends." if stage.has_keys else ""
    stage.say(f"The tour runs on {where}.{keys}")
    stage.pause(0.8)


def _farewell(out: Output, failed: list[str]) -> None:
    out.line()
    if failed:
        out.line(f"This is not as it should be: {', '.join(failed)}")
        return
    out.line("That is all. Every call has the same name with threads and with asyncio.")
    out.line("On a server of yours: seqcache demo --url redis://localhost:6379/0")
