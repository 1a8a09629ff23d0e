"""``flambeau``'s own words for what kubectl does, against the same server."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.control.apiserver.cluster import Cluster, Result, finish, isvc_object, lines, pod_object
from tests.control.apiserver.test_machine_kinds import DEPLOYMENT, deployment

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def flambeau(cluster: Cluster, *arguments: str) -> Result:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cluster.home / "user"), "KUBECONFIG": str(cluster.server.kubeconfig)}
    command = (str(Path(sys.executable).with_name("flambeau")), *arguments)
    pipe = asyncio.subprocess.PIPE
    return await finish(await asyncio.create_subprocess_exec(*command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe))


async def test_objects_are_chosen_and_shown_in_many_ways(cluster: Cluster, namespace: str) -> None:
    for name in ("one", "two"):
        await cluster.store.create(isvc_object(name, namespace))
    await cluster.store.create(pod_object("worker", namespace))
    get = ("get", "isvc", "-n", namespace)
    chosen = await flambeau(cluster, *get, "--field-selector", "metadata.name=two", "-o", "name")
    assert chosen.out == "inferenceservice.serving.kserve.io/two\n"
    columns = await flambeau(cluster, *get, "-o", "custom-columns=N:.metadata.name,URL:.status.url")
    assert lines(columns.out) == [["N", "URL"], ["one", "<none>"], ["two", "<none>"]]
    labels = await flambeau(cluster, "get", "pods", "-n", namespace, "--show-labels")
    assert lines(labels.out)[1][-1] == "serving.kserve.io/inferenceservice=mnist"
    refused = await flambeau(cluster, *get, "-o", "nothing")
    assert "custom-columns=..." in refused.err


async def test_logs_of_what_has_pods(cluster: Cluster, namespace: str) -> None:
    await deployment(cluster, namespace)
    pod = pod_object("worker", namespace)
    pod["metadata"]["labels"]["app"] = "mnist"
    await cluster.store.create(pod)
    cluster.logs.lines["worker"] = [b"one\n"]
    for what in ("worker", "pod/worker", "isvc/mnist", f"deploy/{DEPLOYMENT}"):
        assert (await flambeau(cluster, "logs", what, "-n", namespace)).out == "one\n", what
    missing = await flambeau(cluster, "logs", "isvc/nobody", "-n", namespace)
    assert "InferenceService nobody has no pod" in missing.err
