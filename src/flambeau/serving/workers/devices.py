"""Which GPUs a worker runs on: those with the most free memory, as they are now. The choice is pure; ``Devices`` is its hands.

No process of ours but the workers touches CUDA: GPUs are looked at through nvidia-smi. One ``Devices`` serves all models of a server.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from flambeau.foundation.errors import InvalidInput
from flambeau.serving.model import ModelConfig

_log = logging.getLogger(__name__)

LOOK_SECONDS_MAX = 10.0
"""One look at the GPUs; nvidia-smi takes a second where no daemon keeps the driver awake."""
_QUERY = ("--query-gpu=index,memory.free,memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as it is now."""

    number: int
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Claim:
    """GPUs that a worker has."""

    numbers: tuple[int, ...]
    loaded: bool = False
    """Its model is there: what it takes is in the free memory already."""


def choose_gpus(gpus: Sequence[Gpu], allowed: Sequence[int], claims: Sequence[Claim], count: int = 1) -> tuple[int, ...]:
    """Return the GPUs for one more worker: most free memory first, then fewest workers, then lowest number. Pure.

    A worker that is still loading has taken nothing yet: it counts as if each on a GPU took an equal share of what is free.

    Args:
        gpus: as they are now.
        allowed: numbers that may be used; empty: all.
        claims: of the workers there are.
        count: GPUs of one worker.
    """
    loading = Counter(number for claim in claims if not claim.loaded for number in claim.numbers)
    workers = Counter(number for claim in claims for number in claim.numbers)
    usable = [gpu for gpu in gpus if not allowed or gpu.number in allowed]
    usable.sort(key=lambda gpu: (-gpu.free_bytes / (1 + loading[gpu.number]), workers[gpu.number], gpu.number))
    return tuple(sorted(gpu.number for gpu in usable[:count]))


def resolved(config: ModelConfig, gpu_count: int) -> tuple[ModelConfig, list[str]]:
    """Return a model's config with what this machine's GPUs make of it, and what was odd about it. Pure.

    Raises:
        InvalidInput: a parallel worker needs more GPUs than there are.
    """
    warnings: list[str] = []
    if config.device_type == "cpu" or gpu_count == 0:
        if config.device_type == "gpu":
            warnings.append("deviceType is gpu, but there is none here: the CPU is used")
        return replace(config, device_type="cpu", device_ids=()), warnings
    ids = config.device_ids
    if any(number >= gpu_count for number in ids):
        warnings.append(f"deviceIds {list(ids)} are ignored: the GPUs here are 0 to {gpu_count - 1}")
        ids = ()
    config = replace(config, device_type="gpu", device_ids=ids)
    if config.parallelism is not None:
        there = len(ids) or gpu_count
        most = there // config.parallelism.processes
        if most == 0:
            raise InvalidInput(
                f"a worker needs {config.parallelism.processes} GPUs (parallelLevel), {there} may be used", hint="lower parallelLevel"
            )
        if config.max_workers > most:
            warnings.append(f"maxWorkers is {most}: {there} GPUs are enough for no more workers of {config.parallelism.processes} each")
        config = replace(config, min_workers=min(config.min_workers, most), max_workers=min(config.max_workers, most))
    return config, warnings


def nvidia_gpus() -> list[Gpu]:
    """Look at this machine's NVIDIA GPUs; none where there is no nvidia-smi or it fails. Blocks up to LOOK_SECONDS_MAX."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        told = subprocess.run([command, *_QUERY], capture_output=True, text=True, timeout=LOOK_SECONDS_MAX, check=True).stdout
        return gpus_of(told)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        _log.warning("cannot look at the GPUs: %s", error)
        return []


def gpus_of(text: str) -> list[Gpu]:
    """Return what nvidia-smi tells: a line with number, free and whole memory in MiB for each GPU. Pure.

    Raises:
        ValueError: it tells something else.
    """
    found = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        number, free, total = (int(part) for part in line.split(","))
        found.append(Gpu(number, free << 20, total << 20))
    return found


class Devices:
    """Give workers GPUs.

    Args:
        count: GPUs that may be used: the first so many (number_of_gpu).
        look: tells how the GPUs are now; may block.
    """

    def __init__(self, count: int, look: Callable[[], Sequence[Gpu]] = nvidia_gpus) -> None:
        self.count = count
        self._look = look
        self._claims: dict[Hashable, Claim] = {}
        self._lock = asyncio.Lock()

    async def claim(self, owner: Hashable, allowed: Sequence[int], count: int) -> tuple[int, ...]:
        """Choose GPUs for a worker that is about to start; they are its own until ``release``.

        Args:
            owner: the worker.
            allowed: numbers that may be used; empty: all.
            count: GPUs of one worker.
        """
        async with self._lock:  # one choice at a time: the next one sees this one's claim
            gpus = [gpu for gpu in await asyncio.to_thread(self._look) if gpu.number < self.count]
            chosen = choose_gpus(gpus, allowed, list(self._claims.values()), count)
            self._claims[owner] = Claim(chosen)
            return chosen

    def note_loaded(self, owner: Hashable) -> None:
        """Note that a worker's model is in its GPUs' memory."""
        claim = self._claims.get(owner)
        if claim is not None:
            self._claims[owner] = replace(claim, loaded=True)

    def release(self, owner: Hashable) -> None:
        """Note that a worker has ended."""
        self._claims.pop(owner, None)
