"""Which sides there are."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.sides.model_servers import Flambeau, KServeImage, TorchServe
from benchmarks.sides.python_servers import KSERVE_SDK, LITSERVE, MLSERVER, MOSEC
from benchmarks.sides.side import Side

PEERS: tuple[Side, ...] = (TorchServe(), KServeImage(), KSERVE_SDK, LITSERVE, MOSEC, MLSERVER)


def sides(peers: bool, *, batching: bool = False) -> Iterator[Side]:
    """Yield ourselves, then the peers that are installed; what is not is told on standard error.

    Args:
        peers: whether there are any but ourselves.
        batching: only those that can answer requests in batches.
    """
    yield Flambeau()
    for side in PEERS if peers else ():
        if (missing := side.missing()) is not None:
            print(f"{side.name} is left out: {missing}", file=sys.stderr)
        elif side.batches or not batching:
            yield side
