"""Which replica gets the next request: the one with the fewest in flight.

Pure: randomness is an argument. With one replica, or with all alike, this is a fair draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Load(NamedTuple):
    """What matters of an endpoint for the choice."""

    in_flight: int
    ejected: bool = False
    excluded: bool = False
    """This request has failed to connect to it already."""


def choose(loads: Sequence[Load], draw: float, in_flight_max: int = 0) -> int | None:
    """Return the index of the endpoint to use, or None if each is full or excluded.

    Ejected endpoints are left out unless all the others are excluded: the last one is never ejected for good.

    Args:
        loads: one for each endpoint.
        draw: a random number in [0, 1): breaks ties.
        in_flight_max: per endpoint; 0 for no limit.
    """
    usable = [index for index, load in enumerate(loads) if not load.excluded]
    candidates = [index for index in usable if not loads[index].ejected] or usable
    if in_flight_max:
        candidates = [index for index in candidates if loads[index].in_flight < in_flight_max]
    if not candidates:
        return None
    least = min(loads[index].in_flight for index in candidates)
    ties = [index for index in candidates if loads[index].in_flight == least]
    return ties[int(draw * len(ties))]
