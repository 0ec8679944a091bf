"""The interpreter ends with calls in flight: silently, at once, status 0."""

import subprocess
import sys
import time
from pathlib import Path

from helper import SERVER_PID, URL, thaw

ENDINGS = {
    "threads": """
import threading
cache = seqcache.cache(URL, timeout=60)
def work():
    while True:
        cache.increase_seq("a")
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
""",
    "frozen-threads": """
import threading
cache = seqcache.cache(URL, timeout=60)
freeze()
for _ in range(4):
    threading.Thread(target=cache.increase_seq, args=("a",), daemon=True).start()
time.sleep(0.2)
""",
    "loop": """
import asyncio
async def main():
    global cache
    cache = await seqcache.acache(URL, timeout=60)
    freeze()
    for _ in range(10):
        cache.increase_seq("a")
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
    "loop-left-open": """
import asyncio
loop = asyncio.new_event_loop()
cache = loop.run_until_complete(seqcache.acache(URL))
async def use():
    await cache.increase_seq("a")
    freeze()
    cache.increase_seq("a")
loop.run_until_complete(use())
loop.close()
""",
    "memory": """
cache = seqcache.cache("memory://")
cache.increase_seq("a")
""",
    "global-view": """
cache = seqcache.cache(URL)
view = cache.namespace("x:")
view.increase_seq("a")
""",
    "sys-exit": """
cache = seqcache.cache(URL)
cache.increase_seq("a")
raise SystemExit(0)
""",
}
HEAD = "import sys, time, seqcache\nfrom helper import URL, freeze\n"

for name, body in ENDINGS.items():
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HEAD + body, URL, str(SERVER_PID)],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=Path(__file__).parent,
    )
    thaw()
    assert done.returncode == 0, (name, done)
    assert done.stderr == "", (name, done.stderr)
    assert time.monotonic() - began < 5, name
