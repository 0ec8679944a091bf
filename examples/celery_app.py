"""A celery task that numbers a message once: `celery -A celery_app worker`."""

from typing import Any

from celery import Celery

import seqcache

app = Celery("celery_app", broker="redis://localhost:6379/1")
cache = seqcache.cache()  # SEQCACHE_URL, or redis://localhost:6379/0


@app.task(bind=True, acks_late=True, max_retries=5, default_retry_delay=1)
def number(self: Any, conversation: str) -> int:
    """Number one message; delivered twice, it is the same number."""
    try:
        return cache.increase_seq(conversation, token=self.request.id)
    except (seqcache.OutcomeUnknown, seqcache.ConnectError) as error:
        raise self.retry(exc=error) from error
