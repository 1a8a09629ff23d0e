"""Write to a store until killed; each acknowledged write is said on standard output. Run by ``test_sqlite.py`` as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from flambeau.control.store.sqlite import SqliteStore


async def main(path: Path) -> None:
    store = SqliteStore.open(path)
    await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "home"}})
    number = 0
    obj = await store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "home"}, "data": {"n": "0"}})
    while True:
        print(number, flush=True)
        number += 1
        obj["data"] = {"n": str(number), "filler": "x" * 5000}
        obj = await store.update(obj)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
