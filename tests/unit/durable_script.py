"""A driver that performs the effects of the durable machine from a table."""

from __future__ import annotations

import math
from typing import Any

from seqcache.durable.effects import (
    Background,
    Fcalls,
    Load,
    Rediscover,
    Replies,
    Shared,
    Sleep,
    Sql,
    TimeUp,
)
from seqcache.durable.epoch import Belief
from seqcache.durable.items import (
    INCR,
    Item,
)
from seqcache.durable.machine import Durable
from seqcache.errors import (
    CeilingError,
)

K = Item(INCR, b"k", 1)
EPOCH = "7.r"


class Script:
    """Performs effects from a table: what Redis and SQL say, in order.

    `redis[name]` and `sql[name]` are lists of answers; an exception is thrown
    (SQL) or becomes the value (Redis).  Everything performed is in `done`.
    """

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.beliefs: list[Belief] = []
        self.durable = Durable(
            lambda: self.now, publish=self.beliefs.append, store_name="db", **options
        )
        self.redis: dict[str, list[Any]] = {}
        self.sql: dict[str, list[Any]] = {}
        self.done: list[Any] = []
        self.background: list[Any] = []
        self.slept = 0.0

    def believe(self, until: float = 105.0) -> Script:
        """As if an epoch had been opened."""
        self.durable.process.deadline[EPOCH] = until
        self.durable._lease = 5.0
        self.durable._believe(EPOCH, math.inf)
        return self

    def slow(self, items: list[Item], answers: list[Any]) -> Any:
        """The slow way of a call that was sent and answered so."""
        return self.durable.slow(items, {EPOCH: dict(enumerate(answers))})

    def run(self, step: Any) -> Any:
        """Drive a generator to its end."""
        value: Any = None
        send = step.send
        while True:
            try:
                effect = send(value)
            except StopIteration as stop:
                return stop.value
            try:
                value, send = self.perform(effect), step.send
            except (CeilingError, TimeUp) as exc:
                value, send = exc, step.throw

    def perform(self, effect: Any) -> Any:
        """One effect."""
        if isinstance(effect, Fcalls):
            self.done += [(call.name, *call.args) for call in effect.calls]
            values = [self.answer(self.redis, call.name) for call in effect.calls]
            return Replies(values, "link")
        if isinstance(effect, Sql):
            self.done.append((effect.method, *effect.args))
            answer = self.answer(self.sql, effect.method)
            if isinstance(answer, BaseException):
                raise answer
            return answer
        if isinstance(effect, Shared):
            return self.run(effect.make())
        if isinstance(effect, Background):
            self.background.append(effect)
            return None
        self.done.append(type(effect).__name__)
        if isinstance(effect, Sleep):
            self.slept += effect.seconds
            self.now += effect.seconds
        else:
            assert isinstance(effect, Load | Rediscover)
        return None

    def answer(self, table: dict[str, list[Any]], name: str) -> Any:
        """The next answer of a table; a callable is asked."""
        value = table[name].pop(0)
        return value() if callable(value) else value

    def names(self) -> list[str]:
        """What was performed, by name."""
        return [one if isinstance(one, str) else one[0] for one in self.done]
