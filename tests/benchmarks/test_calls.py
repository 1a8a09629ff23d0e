"""A guard against accidents on the hot paths: how many calls one request makes, Python's and C's.

The harnesses are benchmarks/hot_path.py and gateway_path.py. Unlike a time, a number of calls is the same on every
machine and every run. A bound is what was counted when it was last set, and 15 %: who exceeds it looks where the calls come from
(``python -m benchmarks.hot_path --profile``), who gets far below lowers it.
"""

from __future__ import annotations

import argparse
import asyncio

import pytest
import uvloop

from benchmarks import gateway_path
from benchmarks.hot_path import front_calls, worker_calls

REQUESTS = 1024
FRONT_CALLS_MAX = {1: 159, 16: 103}
"""By the batch's size."""
WORKER_CALLS_MAX = {1: 88, 16: 46}
GATEWAY_CALLS_MAX = 134


@pytest.mark.parametrize("batch", FRONT_CALLS_MAX)
def test_a_request_costs_the_front_no_more_calls_than_it_did(batch: int) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(front_calls(batch, REQUESTS)) <= FRONT_CALLS_MAX[batch]


@pytest.mark.parametrize("batch", WORKER_CALLS_MAX)
def test_a_request_costs_the_worker_no_more_calls_than_it_did(batch: int) -> None:
    assert worker_calls(batch, REQUESTS) <= WORKER_CALLS_MAX[batch]


def test_a_request_costs_the_gateway_no_more_calls_than_it_did() -> None:
    options = argparse.Namespace(replicas=1, split=False, rounds=1, count=REQUESTS, profile=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        _, calls = runner.run(gateway_path.measure(options))
    assert calls <= GATEWAY_CALLS_MAX
