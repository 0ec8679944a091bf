"""Execute a notebook that uses both faces; print what its cells gave, as JSON."""

import json

from nbclient import NotebookClient
from nbformat import v4

CELLS = [
    "import asyncio, seqcache",
    "chats = await seqcache.acache()",
    "await chats.increase_seq('nb')",
    "await asyncio.gather(*[chats.increase_seq('nb') for _ in range(3)])",
    "cache = seqcache.cache()",
    "cache.increase_seq('nb')",
    "cache.config",
    "await chats.aclose(); cache.close()",
]

book = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in CELLS])
NotebookClient(book, timeout=60, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in book.cells]))
