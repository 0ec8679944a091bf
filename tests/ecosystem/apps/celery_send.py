"""Order work of the celery worker, and print its answers as JSON."""

import json
import sys

from celery import group
from celery_app import send

user_id, count = sys.argv[1], int(sys.argv[2])
answers = group(send.s(user_id) for _ in range(count))().get(timeout=60)
print(json.dumps(answers))
