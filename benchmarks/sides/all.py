"""Which sides there are."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.sides.model_servers import Flambeau, KServeImage, TorchServe
from benchmarks.sides.nginx import NGINX
from benchmarks.sides.python_servers import KSERVE_SDK, KSERVE_TENSOR, LITSERVE, MLSERVER, MLSERVER_TENSOR, MOSEC
from benchmarks.sides.side import Side

PEERS: tuple[Side, ...] = (TorchServe(), KServeImage(), KSERVE_SDK, LITSERVE, MOSEC, MLSERVER)
ARCHIVE_PEERS: tuple[Side, ...] = (TorchServe(),)
"""Those that take our archives and our configuration as they are."""
TENSOR_PEERS: tuple[Side, ...] = (TorchServe(), KSERVE_TENSOR, MLSERVER_TENSOR)


def sides(peers: bool, *, batching: bool = False, among: tuple[Side, ...] = PEERS) -> Iterator[Side]:
    """Yield ourselves, then the peers that are installed.

    Args:
        peers: whether there are any but ourselves.
        batching: only those that can answer requests in batches.
        among: the peers to choose from.
    """
    yield Flambeau()
    for side in among if peers else ():
        if side.missing() is None and (side.batches or not batching):
            yield side


def left_out() -> list[str]:
    """Return the peers that are not installed, each with what would install it."""
    missing = [f"{side.name} (`{wanted}`)" for side in PEERS if (wanted := side.missing()) is not None]
    return missing if NGINX.exists() else [*missing, "nginx (`make bench-peers`)"]
