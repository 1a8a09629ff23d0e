"""A canary walk under steady load: a fifth of the requests, promotion, the way back, and a version that never gets ready. None fails."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.system.harness import Platform, until

NAME, NAMESPACE = "walk", "canary"
HOST = f"{NAME}.{NAMESPACE}.svc.cluster.local"
CLIENTS = 4
COUNTED_REQUESTS_MIN = 2000
SPLIT_TOLERANCE = 0.03
TIMEOUT = "90s"


@dataclass
class Load:
    """What steady requests got."""

    words: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def since(self, begin: int) -> Counter[str]:
        """Count who answered since then."""
        return Counter(self.words[begin:])


@contextmanager
def steady_load(platform: Platform) -> Iterator[Load]:
    """Have several clients with kept connections send requests one after another while the block runs."""
    done, load = threading.Event(), Load()

    def send() -> None:
        with httpx2.Client(timeout=30, trust_env=False, headers={"Host": HOST}) as client:
            while not done.is_set():
                try:
                    answer = client.post(f"{platform.gateway}/v1/models/{NAME}:predict", json={"instances": [1]})
                    if answer.status_code == 200:
                        load.words.append(answer.json()["predictions"][0])
                    else:
                        load.failed.append(f"{answer.status_code} {answer.text}")
                except httpx2.TransportError as error:
                    load.failed.append(repr(error))

    clients = [threading.Thread(target=send) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield load
    finally:
        done.set()
        for client in clients:
            client.join(40)


def manifest(word: str, **predictor: Any) -> str:
    container = {
        "name": "kserve-container",
        "image": "example.com/answering",
        "command": [sys.executable, str(Path(__file__).with_name("answering.py"))],
        "env": [{"name": "WORD", "value": word}],
    }
    metadata = {"name": NAME, "namespace": NAMESPACE, "annotations": {"kubernetes.io/change-cause": f"try {word}"}}
    return json.dumps(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": metadata,
            "spec": {"predictor": {"containers": [container], **predictor}},
        }
    )


@pytest.fixture(scope="module")
def served(platform: Platform) -> Platform:
    """Have the first version, rolled out."""
    platform.kubectl("create", "ns", NAMESPACE)
    apply(platform, "one")
    assert rollout(platform, "status", "--timeout", TIMEOUT).endswith(f"{NAME}-predictor-00001 gets 100 %\n")
    return platform


def apply(platform: Platform, word: str, **predictor: Any) -> None:
    platform.flambeau("apply", "-f", "-", stdin=manifest(word, **predictor))


def rollout(platform: Platform, verb: str, *arguments: str) -> str:
    return platform.flambeau("rollout", verb, NAME, "-n", NAMESPACE, *arguments).stdout


def only(load: Load, word: str) -> bool:
    """Tell whether the last requests were all answered by one version."""
    recent = load.words[-50:]
    return len(recent) == 50 and set(recent) == {word}


def test_a_canary_walk_costs_no_request(served: Platform) -> None:
    with steady_load(served) as load:
        until(lambda: only(load, "one"), seconds=30, what="answers of the first version")

        apply(served, "two", canaryTrafficPercent=20)
        assert f"{NAME}-predictor-00002 gets 20 %, {NAME}-predictor-00001 gets 80 %" in rollout(served, "status", "--timeout", TIMEOUT)
        begin = len(load.words)
        until(lambda: len(load.words) >= begin + COUNTED_REQUESTS_MIN, seconds=120, what="requests during the canary")
        shares = load.since(begin)
        assert abs(shares["two"] / shares.total() - 0.20) <= SPLIT_TOLERANCE, shares

        assert "rolled back" in rollout(served, "undo")
        until(lambda: only(load, "one"), seconds=30, what="end of the canary")

        apply(served, "two")  # promoted: no percentage
        assert f"{NAME}-predictor-00002 gets 100 %" in rollout(served, "status", "--timeout", TIMEOUT)
        until(lambda: only(load, "two"), seconds=30, what="answers of the second version")

        assert "rolled back to revision 1" in rollout(served, "undo")
        assert f"{NAME}-predictor-00003 gets 100 %" in rollout(served, "status", "--timeout", TIMEOUT)
        until(lambda: only(load, "one"), seconds=30, what="answers of the first version again")

        apply(served, "broken")
        served.ready_message(NAME, "the weights do not fit the model", "keeps serving", seconds=60, namespace=NAMESPACE)
        begin = len(load.words)
        until(lambda: len(load.words) >= begin + 200, seconds=30, what="answers beside the broken version")
        assert set(load.since(begin)) == {"one"}

        assert "rolled back to revision 3" in rollout(served, "undo")
        rollout(served, "status", "--timeout", TIMEOUT)
        rollout(served, "restart")
        assert f"{NAME}-predictor-00006 gets 100 %" in rollout(served, "status", "--timeout", TIMEOUT)
    assert load.failed == []


def test_the_history_tells_what_each_revision_was(served: Platform) -> None:
    rows = {row["revision"]: row for row in json.loads(rollout(served, "history", "--output", "json"))}
    assert sorted(rows) == [1, 2, 3, 4, 5, 6]
    assert (rows[6]["traffic"], rows[6]["ready"]) == (100, "True")
    assert (rows[2]["cause"], rows[2]["changedBy"]) == ("try two", "flambeau")
    assert "the weights do not fit the model" in rows[4]["message"]
    assert "value: two" in rollout(served, "history", "--revision", "2")
    assert rollout(served, "history").startswith("REVISION   CREATED")
    deployment = f"deploy/{NAME}-predictor-00006-deployment"
    assert "successfully rolled out" in served.kubectl("rollout", "status", deployment, "-n", NAMESPACE).stdout
    assert deployment.removeprefix("deploy/") in served.kubectl("rollout", "history", deployment, "-n", NAMESPACE).stdout
    refused = served.flambeau("rollout", "undo", NAME, "-n", NAMESPACE, "--to-revision", "17", check=False)
    assert (refused.returncode, "there is no revision 17" in refused.stderr) == (1, True)
