"""One collection takes the module, its types, an engine and a call together."""

import asyncio
import gc
import importlib.util
import socket
import sys

import seqcache._native

PATH = seqcache._native.__file__


def one_round() -> None:
    spec = importlib.util.spec_from_file_location("seqcache._native", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    here, there = socket.socketpair()

    async def connect(_seconds: float | None) -> int:
        return here.detach()

    engine = module.Engine("x", connect, 60.0, 100, "safe", None, 0, None, 600)
    client = module.AsyncClient(engine, b"")
    # One ring of all, so that only the collector ends them.
    ring = [module, engine, client]

    async def main() -> None:
        cancelled = client.increase_seq("a")
        pending = client.increase_seq("b")
        await asyncio.sleep(0.01)
        cancelled.cancel()
        ring.extend([cancelled, pending, ring])

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    there.close()


gc.disable()
for _ in range(20):
    one_round()
    gc.collect()
    gc.collect()
sys.exit(0)
