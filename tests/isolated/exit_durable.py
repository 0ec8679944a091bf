"""The interpreter ends while durable calls and renewals go on: silently, at once."""

import subprocess
import sys
import tempfile
from pathlib import Path

from helper import SERVER_PID, URL

STORE = f"sqlite:///{tempfile.mkdtemp()}/ceilings.db"
ENDINGS = {
    "threads": """
import threading
cache = seqcache.cache(URL, ceilings=STORE, **SHORT)
def work():
    while True:
        cache.increase_seq("a")
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.6)
""",
    "loop": """
import asyncio
async def main():
    global cache
    cache = await seqcache.acache(URL, ceilings=STORE, **SHORT)
    for _ in range(100):
        cache.increase_seq("a")
    await asyncio.sleep(0.01)
asyncio.run(main())
""",
    "loops": """
import asyncio
async def main():
    global cache
    cache = await seqcache.acache(URL, ceilings=STORE, timeout=20)
    first = await cache.increase_seq("b")
    return first
async def again():
    return await cache.increase_seq("b")
async def end():
    await cache.aclose()
first = asyncio.run(main())
assert asyncio.run(again()) == first + 1
asyncio.run(end())
""",
}
HEAD = """import sys, time, seqcache
from helper import URL
SHORT = {"step": 10, "fence_time": 0.5, "timeout": 20}
"""

for name, body in ENDINGS.items():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{HEAD}STORE = {STORE!r}\n{body}",
            URL,
            str(SERVER_PID),
        ],
        capture_output=True,
        text=True,
        timeout=20,  # a statement of SQL may take 30 s: nobody waits for it
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, (name, done)
    assert done.stderr == "", (name, done.stderr)
