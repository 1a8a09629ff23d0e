"""Try batch sizes and numbers of workers on a copy of a model, by the server's management API.

The copy has a name of its own and goes when the search ends, however it ends: the model that others use is not touched. It shares the
machine with it, though. Called by ``run``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
import orjson

from flambeau.foundation.errors import Denied, FlambeauError, InvalidInput, NotFound, Unavailable
from flambeau.programs.bench.figures import Level, Tried, best_of
from flambeau.programs.bench.load import message_of

ANSWER_SECONDS_MAX = 300.0
"""For the management API: registering waits until the workers have loaded."""
SETTINGS_MAX = 64
"""Batch sizes and numbers of workers together."""

Measure = Callable[[str], Awaitable[Level]]
"""Loads the model of a name and returns what it saw."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to search.

    Args:
        management: URL of the management API.
        model: the model that is copied.
        batch_sizes: that are tried with as many workers as the model has.
        workers: that are tried with the best batch size.
        key: of the management API, where it wants one.
    """

    management: str
    model: str
    batch_sizes: tuple[int, ...]
    workers: tuple[int, ...]
    key: str | None = None


async def search(wish: Wish, measure: Measure, tried: list[Tried], is_stopped: Callable[[], bool]) -> None:
    """Try one setting after the other.

    Args:
        wish: what to search.
        measure: how.
        tried: each setting is added when it has been measured, so that what there is stays where a later one fails.
        is_stopped: asked before each setting.

    Raises:
        FlambeauError: the management API cannot be reached or does not allow it; the hint says what it would need.

    Cancel: the copy is unregistered.
    """
    headers = {"Authorization": f"Bearer {wish.key}"} if wish.key else {}
    timeout = httpx2.Timeout(ANSWER_SECONDS_MAX, connect=5.0)
    async with httpx2.AsyncClient(base_url=wish.management, headers=headers, timeout=timeout, trust_env=False) as client:
        model = await _described(client, wish)
        workers = max(1, int(model["minWorkers"]))

        async def measure_each(settings: Sequence[tuple[int, int]]) -> None:
            for batch_size, count in settings:
                if is_stopped():
                    return
                async with _copied(client, wish, model, batch_size, count) as name:
                    tried.append(Tried(batch_size, count, await measure(name)))

        await measure_each([(size, workers) for size in wish.batch_sizes])
        best = best_of(tried)
        if best is not None:
            await measure_each([(best.batch_size, count) for count in wish.workers if count != workers])


async def _described(client: httpx2.AsyncClient, wish: Wish) -> dict[str, Any]:
    told = await _ask(client, "GET", f"/models/{quote(wish.model, safe='')}")
    if not isinstance(told, list) or not told or not told[0].get("modelUrl"):
        raise InvalidInput(
            f"{wish.management} does not say where model {wish.model} comes from, so it cannot be registered again",
            hint="functions of workflows and models that the agent loads have no archive of their own there",
        )
    found: dict[str, Any] = told[0]
    return found


@asynccontextmanager
async def _copied(client: httpx2.AsyncClient, wish: Wish, model: dict[str, Any], batch_size: int, workers: int) -> AsyncIterator[str]:
    """Register a copy of a model, and unregister it afterwards."""
    name = f"{wish.model}-bench-{os.getpid()}"
    path = f"/models/{quote(name, safe='')}"
    asked = {"url": model["modelUrl"], "model_name": name, "batch_size": batch_size, "initial_workers": 0, "synchronous": "true"}
    await _ask(client, "POST", "/models", asked)
    try:
        [copy] = await _ask(client, "GET", path)
        if copy["batchSize"] != batch_size:
            raise InvalidInput(
                f"model {wish.model} has a batch size of {copy['batchSize']} whatever is asked for: its own configuration says so",
                hint=f"search numbers of workers alone: --batch-sizes {copy['batchSize']}; or take batchSize out of model-config.yaml",
            )
        await _ask(client, "PUT", path, {"min_worker": workers, "max_worker": workers, "synchronous": "true"})
        yield name
    finally:
        await _ask(client, "DELETE", path)


async def _ask(client: httpx2.AsyncClient, method: str, path: str, parameters: dict[str, Any] | None = None) -> Any:
    try:
        answer = await client.request(method, path, params=parameters)
    except httpx2.HTTPError as error:
        raise Unavailable(
            f"cannot reach the management API at {client.base_url}: {str(error) or type(error).__name__}",
            hint="--management names it, such as --management http://127.0.0.1:8081; a pod's own is at its status.podIP",
        ) from error
    if answer.status_code < 300:
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"{client.base_url} is no management API: it answers {method} {path} with no JSON") from error
    raise _refusal(answer.status_code, f"{method} {path}: {message_of(answer.content)}")


def _refusal(status: int, said: str) -> FlambeauError:
    if status in (400, 401, 403) and "token" in said.lower():
        return Denied(f"the management API wants a key: {said}", hint="--key-file names the server's key_file.json")
    if status == 405:
        return Denied(
            f"the management API does not register models: {said}",
            hint="start the server with --enable-model-api, or without --search choose batch sizes and workers by hand",
        )
    kind = NotFound if status == 404 else InvalidInput
    return kind(f"the management API answered {status} to {said}", hint="a search registers a copy of the model under another name")
