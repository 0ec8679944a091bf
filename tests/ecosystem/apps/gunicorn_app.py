"""A WSGI service that is loaded before gunicorn forks: the workers inherit a cache."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import seqcache

cache = seqcache.cache()
cache.increase_seq("before the fork")


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Take the next number of a user."""
    user_id = environ["PATH_INFO"].removeprefix("/")
    answer = [cache.increase_seq(user_id), os.getpid()]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
