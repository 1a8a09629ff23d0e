from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.foundation.errors import InvalidInput
from flambeau.serving.model import ModelConfig, Parallelism
from flambeau.serving.workers.devices import Claim, Devices, Gpu, choose_gpus, gpus_of, resolved
from tests.serving.workers.kit import serving, until, write_model

GIB = 1 << 30


def gpus(*free: int) -> list[Gpu]:
    return [Gpu(number, each * GIB, 80 * GIB) for number, each in enumerate(free)]


@pytest.mark.parametrize(
    ("free", "allowed", "claims", "count", "chosen"),
    [
        ((10, 40, 20), (), [], 1, (1,)),
        ((10, 40, 20), (0, 2), [], 1, (2,)),
        # A worker that is still loading will take memory that is free yet.
        ((10, 40, 30), (), [Claim((1,))], 1, (2,)),
        ((10, 40, 30), (), [Claim((1,), loaded=True)], 1, (1,)),
        ((40, 40), (), [Claim((0,), loaded=True)], 1, (1,)),
        ((40, 40), (), [], 1, (0,)),
        ((10, 40, 20), (), [], 2, (1, 2)),
        ((), (), [], 1, ()),
    ],
)
def test_the_choice(free: tuple[int, ...], allowed: tuple[int, ...], claims: list[Claim], count: int, chosen: tuple[int, ...]) -> None:
    assert choose_gpus(gpus(*free), allowed, claims, count) == chosen


@given(st.integers(1, 8), st.integers(1, 24))
def test_workers_that_start_together_on_equal_gpus_are_spread_evenly(gpu_count: int, workers: int) -> None:
    claims: list[Claim] = []
    for _ in range(workers):
        claims.append(Claim(choose_gpus(gpus(*[40] * gpu_count), (), claims)))
    counts = [sum(number in claim.numbers for claim in claims) for number in range(gpu_count)]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("config", "count", "expected", "warnings"),
    [
        (ModelConfig(), 0, ModelConfig(device_type="cpu"), 0),
        (ModelConfig(device_type="gpu"), 0, ModelConfig(device_type="cpu"), 1),
        (ModelConfig(device_type="cpu"), 4, ModelConfig(device_type="cpu"), 0),
        (ModelConfig(), 4, ModelConfig(device_type="gpu"), 0),
        (ModelConfig(device_ids=(1, 3)), 4, ModelConfig(device_type="gpu", device_ids=(1, 3)), 0),
        (ModelConfig(device_ids=(1, 4)), 4, ModelConfig(device_type="gpu"), 1),
        (
            ModelConfig(min_workers=3, max_workers=9, parallelism=Parallelism("tp", 2)),
            4,
            ModelConfig(min_workers=2, max_workers=2, parallelism=Parallelism("tp", 2), device_type="gpu"),
            1,
        ),
    ],
)
def test_what_the_machine_makes_of_a_config(config: ModelConfig, count: int, expected: ModelConfig, warnings: int) -> None:
    found, told = resolved(config, count)
    assert (found, len(told)) == (expected, warnings)


def test_a_parallel_worker_that_needs_more_gpus_than_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"needs 8 GPUs \(parallelLevel\), 2 may be used"):
        resolved(ModelConfig(device_ids=(0, 1), parallelism=Parallelism("pp", 8)), 8)


def test_what_nvidia_smi_tells() -> None:
    assert gpus_of("0, 1024, 81920\n1, 7, 8\n\n") == [Gpu(0, GIB, 80 * GIB), Gpu(1, 7 << 20, 8 << 20)]
    with pytest.raises(ValueError, match="No devices"):
        gpus_of("No devices were found")


async def test_a_claim_is_seen_by_the_next_choice_and_given_back() -> None:
    devices = Devices(2, lambda: gpus(40, 40, 40))
    assert await asyncio.gather(*(devices.claim(name, (), 1) for name in "abc")) == [(0,), (1,), (0,)]
    devices.note_loaded("a")
    devices.release("b")
    assert await devices.claim("d", (), 1) == (1,)
    assert await devices.claim("e", (0,), 1) == (0,)


WHERE = """
import os

def handle(data, context):
    if data is None:
        return
    return [[context.system_properties["gpu_id"], os.environ.get("CUDA_VISIBLE_DEVICES")]] * len(data)
"""


async def test_workers_get_the_gpu_with_the_most_free_memory(tmp_path: Path) -> None:
    devices = Devices(2, lambda: gpus(10, 40))
    spec = write_model(tmp_path, WHERE, device_type="gpu", max_workers=2)
    async with serving(spec, devices=devices) as served:
        assert json.loads(await served.ask().text()) == [1, None]
        assert [status.device for status in served.pool.workers()] == ["cuda:1"]
        devices._look = lambda: gpus(10, 5)
        served.pool.scale(2, 2)
        await until(lambda: served.pool.ready)
        assert sorted(status.device for status in served.pool.workers()) == ["cuda:0", "cuda:1"]
    assert not devices._claims


async def test_a_custom_parallel_worker_sees_only_its_gpus(tmp_path: Path) -> None:
    devices = Devices(4, lambda: gpus(10, 40, 5, 30))
    spec = write_model(tmp_path, WHERE, device_type="gpu", parallelism=Parallelism("custom", 2))
    async with serving(spec, devices=devices) as served:
        assert json.loads(await served.ask().text()) == [0, "1,3"]
