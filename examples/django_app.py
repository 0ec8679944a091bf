"""A Django view that numbers messages: `django-admin runserver` serves it."""

from functools import cache

from django.http import HttpRequest, JsonResponse
from django.urls import path

import seqcache


@cache
def sequences() -> seqcache.SeqCache:
    """The cache of this process: SEQCACHE_URL, or redis://localhost:6379/0."""
    return seqcache.cache()


def send(request: HttpRequest, conversation: str) -> JsonResponse:
    try:
        seq = sequences().increase_seq(conversation)
    except seqcache.SeqCacheError as error:
        return JsonResponse({"error": type(error).__name__}, status=503)
    return JsonResponse({"seq": seq})


urlpatterns = [path("conversations/<str:conversation>/messages", send)]
