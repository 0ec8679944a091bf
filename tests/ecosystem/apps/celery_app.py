"""A celery worker whose processes inherit a cache."""

import os

from celery import Celery

import seqcache

app = Celery("celery_app", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
cache = seqcache.cache()
cache.increase_seq("before the fork")


@app.task
def send(user_id: str) -> list[int]:
    """Take the next number of a user."""
    return [cache.increase_seq(user_id), os.getpid()]
