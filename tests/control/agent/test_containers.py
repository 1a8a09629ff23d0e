"""Pods of several containers: their processes, questions, hooks, limits and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.pod import POD
from flambeau.foundation.processes import ProcessRecord
from tests.control.agent.world import SERVER, World, condition, is_ready

SLEEPER = "import time; print('sleeping', flush=True); time.sleep(600)"
EATER = """
    import time
    hoard = bytearray(200 * 1024 * 1024)
    hoard[::4096] = b"x" * len(hoard[::4096])
    time.sleep(600)
"""


def add(pod: Object, name: str, script: str, **fields: Any) -> Object:
    """Give a pod one more container; return the pod."""
    pod["spec"]["containers"].insert(1, {"name": name, "image": "i", "command": [sys.executable, "-c", textwrap.dedent(script)], **fields})
    return pod


def status_of(pod: Object, name: str, field: str = "containerStatuses") -> Object:
    statuses: list[Object] = (pod.get("status") or {}).get(field) or []
    return next((status for status in statuses if status["name"] == name), {})


def ended(pod: Object, name: str, field: str = "containerStatuses") -> Object:
    found: Object = status_of(pod, name, field).get("lastState", {}).get("terminated") or {}
    return found


def process_of(world: World, pod: Object, name: str) -> ProcessRecord:
    record = ProcessRecord.load(world.directory(pod) / "processes" / f"{name}.json")
    assert record is not None
    return record


def log_of(world: World, pod: Object, name: str) -> str:
    return (world.directory(pod) / "logs" / f"{name}.log").read_text()


async def test_each_container_is_a_process_with_a_log_of_its_own(world: World) -> None:
    await world.agent()
    await world.store.create(add(world.pod("p"), "side", SLEEPER))
    pod = await world.until("p", is_ready)
    records = [process_of(world, pod, name) for name in ("kserve-container", "side")]
    assert all(record.is_alive() for record in records)
    assert [status_of(pod, name)["ready"] for name in ("kserve-container", "side", "queue-proxy")] == [True, True, True]
    assert (log_of(world, pod, "side"), log_of(world, pod, "kserve-container")) == ("sleeping\n", "serving []\n")
    await world.store.delete(Key("pods", "ns", "p"))
    await world.until_gone("p")
    assert not any(record.is_alive() for record in records)


async def test_one_container_restarts_while_the_others_go_on(world: World) -> None:
    await world.agent()
    await world.store.create(add(world.pod("p"), "side", SLEEPER))
    pod = await world.until("p", is_ready)
    server, side = process_of(world, pod, "kserve-container"), process_of(world, pod, "side")
    os.kill(side.pid, signal.SIGKILL)
    pod = await world.until("p", lambda pod: is_ready(pod) and status_of(pod, "side")["restartCount"] == 1)
    assert (process_of(world, pod, "kserve-container"), status_of(pod, "kserve-container")["restartCount"]) == (server, 0)
    assert "side was killed by SIGKILL" in ended(pod, "side")["message"]


async def test_a_pod_is_not_ready_while_one_container_fails(world: World) -> None:
    await world.agent()
    await world.store.create(add(world.pod("p"), "side", "raise SystemExit('no licence')"))
    pod = await world.until("p", lambda pod: "no licence" in condition(pod, "Ready").get("message", ""))
    assert (condition(pod, "Ready")["status"], condition(pod, "Ready")["reason"]) == ("False", "ExitCode1")
    await world.until("p", lambda pod: "running" in status_of(pod, "kserve-container")["state"])


async def test_containers_of_a_killed_agent_are_all_adopted(world: World) -> None:
    orphan = await world.orphan(add(world.pod("p"), "side", SLEEPER))
    records = [process_of(world, orphan, name) for name in ("kserve-container", "side")]
    await world.agent()
    await world.eventually(lambda: _has_event(world, "Normal Adopted"))
    pod = await world.get("p")
    assert is_ready(pod)
    assert [process_of(world, pod, name) for name in ("kserve-container", "side")] == records
    assert all(record.is_alive() for record in records)


async def _has_event(world: World, event: str) -> bool:
    return event in await world.events()


async def test_init_containers_that_are_commands_run_one_after_the_other(world: World) -> None:
    await world.agent()
    pod = world.pod("p")
    mount = {"name": "shared", "mountPath": "/shared"}
    script = "import sys; open(sys.argv[1] + '/words', 'a').write(sys.argv[2])"
    pod["spec"]["initContainers"] = [
        {"name": name, "image": "i", "command": [sys.executable, "-c", script, "/shared", name], "volumeMounts": [mount]}
        for name in ("one", "two")
    ]
    pod["spec"]["volumes"] = [{"name": "shared", "emptyDir": {}}]
    await world.store.create(pod)
    pod = await world.until("p", is_ready)
    assert (world.directory(pod) / "volumes" / "shared" / "words").read_text() == "onetwo"
    states = [status["state"]["terminated"]["exitCode"] for status in pod["status"]["initContainerStatuses"]]
    assert states == [0, 0]


async def test_a_failing_init_container_is_told_and_holds_the_rest(world: World) -> None:
    await world.agent()
    pod = world.pod("p")
    pod["spec"]["initContainers"] = [{"name": "first", "image": "i", "command": [sys.executable, "-c", "raise SystemExit('no disk')"]}]
    await world.store.create(pod)
    pod = await world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "InitContainerFailed")
    assert condition(pod, "Ready")["message"] == "init container first exited with status 1: no disk"
    assert status_of(pod, "first", "initContainerStatuses")["state"]["terminated"]["exitCode"] == 1
    assert status_of(pod, "kserve-container")["state"] == {"waiting": {"reason": "PodInitializing"}}


TELLER = """
import signal, sys, threading
words = open(sys.argv[1], "a")
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
print(sys.argv[2], file=words, flush=True)
ended.wait()
print("end-" + sys.argv[2], file=words)
"""


async def test_sidecars_start_in_their_turn_live_beside_the_containers_and_end_last(world: World, tmp_path: Path) -> None:
    await world.agent()
    words = tmp_path / "words"
    told = {name: [sys.executable, "-c", TELLER, str(words), name] for name in ("side", "near", "main")}
    append = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write('first\\n')", str(words)]
    up = {"exec": {"command": [sys.executable, "-c", "import sys; assert 'side' in open(sys.argv[1]).read()", str(words)]}}
    pod = add(world.pod("p"), "main", "", command=told["main"])
    pod["spec"]["initContainers"] = [
        {"name": "side", "image": "i", "command": told["side"], "restartPolicy": "Always", "startupProbe": {**up, "periodSeconds": 1}},
        {"name": "first", "image": "i", "command": append},
        {"name": "near", "image": "i", "command": told["near"], "restartPolicy": "Always"},
    ]
    await world.store.create(pod)
    pod = await world.until("p", is_ready)
    await world.eventually(lambda: _has_words(words, "main"))
    assert words.read_text().split()[:2] == ["side", "first"]
    side = status_of(pod, "side", "initContainerStatuses")
    assert ("running" in side["state"], side["ready"], side["started"]) == (True, True, True)
    assert next(column.cell(pod, 0.0) for column in POD.columns if column.name == "Ready") == "5/5"

    process_of(world, pod, "side").signal(signal.SIGKILL)
    await world.until("p", lambda pod: status_of(pod, "side", "initContainerStatuses")["restartCount"] == 1 and is_ready(pod))
    await world.store.delete(Key("pods", "ns", "p"))
    await world.until_gone("p")
    assert words.read_text().split()[-3:] == ["end-main", "end-near", "end-side"]


async def _has_words(file: Path, wanted: str) -> bool:
    return wanted in file.read_text().split()


async def test_sidecars_of_a_pod_that_ends_are_ended_after_the_containers_last_first(world: World, tmp_path: Path) -> None:
    await world.agent()
    words = tmp_path / "words"
    told = {name: [sys.executable, "-c", TELLER, str(words), name] for name in ("side", "near")}
    pod = world.pod("job", f"open({str(words)!r}, 'a').write('main\\n')", restartPolicy="OnFailure")
    written = {"exec": {"command": ["grep", "-q", "near", str(words)]}, "periodSeconds": 1}
    pod["spec"]["initContainers"] = [
        {"name": "side", "image": "i", "command": told["side"], "restartPolicy": "Always"},
        {"name": "near", "image": "i", "command": told["near"], "restartPolicy": "Always", "startupProbe": written},
    ]
    await world.store.create(pod)
    pod = await world.until("job", lambda pod: (pod.get("status") or {}).get("phase") == "Succeeded")
    assert words.read_text().split()[-3:] == ["main", "end-near", "end-side"]
    for name in ("side", "near"):
        shown = status_of(pod, name, "initContainerStatuses")
        assert (shown["state"]["terminated"]["exitCode"], shown["restartCount"]) == (0, 0)
    assert "Normal Killing" in await world.events()
    await world.agents[0].stop(kill_pods=False)
    await world.agent()
    await world.store.delete(Key("pods", "ns", "job"))
    await world.until_gone("job")
    assert not await _has_event(world, "Normal Adopted")


async def test_how_sidecars_end_says_nothing_about_the_pod_and_ordinary_containers_live_on(world: World) -> None:
    await world.agent()
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    for name, script, phase in (("good", "print('done')", "Succeeded"), ("bad", "raise SystemExit(4)", "Failed")):
        pod = world.pod(name, script, restartPolicy="Never", terminationGracePeriodSeconds=1)
        pod["spec"]["initContainers"] = [
            {"name": "side", "image": "i", "command": [sys.executable, "-c", stubborn], "restartPolicy": "Always"}
        ]
        await world.store.create(pod)
        pod = await world.until(name, lambda pod, phase=phase: (pod.get("status") or {}).get("phase") == phase)  # type: ignore[misc]
        assert status_of(pod, "side", "initContainerStatuses")["state"]["terminated"]["exitCode"] in (137, 143)
    pod = add(world.pod("both", "print('done')", restartPolicy="Never"), "side", SLEEPER)
    await world.store.create(pod)
    pod = await world.until("both", lambda pod: "terminated" in status_of(pod, "kserve-container").get("state", {}))
    assert pod["status"]["phase"] == "Running"
    assert process_of(world, pod, "side").is_alive()


async def test_a_container_that_ended_for_good_is_not_run_again_by_the_next_agent(world: World, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    script = f"open({str(runs)!r}, 'a').write('x'); raise SystemExit(3)"
    await world.orphan(add(world.pod("p", script, restartPolicy="Never"), "side", SLEEPER))
    before = await world.get("p")
    await world.agent()
    await world.eventually(lambda: _has_event(world, "Normal Adopted"))
    process_of(world, before, "side").signal(signal.SIGKILL)
    pod = await world.until("p", lambda pod: pod["status"]["phase"] == "Failed")
    first, last = (status_of(each, "kserve-container")["state"]["terminated"] for each in (before, pod))
    assert (last["exitCode"], last["message"]) == (3, first["message"])
    assert runs.read_text() == "x"


async def test_sidecars_are_adopted_with_the_others(world: World) -> None:
    pod = add(world.pod("p"), "side", SLEEPER)
    sidecar = {**pod["spec"]["containers"].pop(), "restartPolicy": "Always"}
    pod["spec"]["initContainers"] = [sidecar]
    orphan = await world.orphan(pod)
    record = process_of(world, orphan, "side")
    await world.agent()
    await world.eventually(lambda: _has_event(world, "Normal Adopted"))
    pod = await world.until("p", is_ready)
    assert process_of(world, pod, "side") == record
    await world.store.delete(Key("pods", "ns", "p"))
    await world.until_gone("p")
    assert not record.is_alive()


async def test_more_memory_than_the_limit_kills_the_container_and_says_so(world: World) -> None:
    await world.agent()
    resources = {"limits": {"memory": "100Mi", "cpu": "1500m"}, "requests": {"cpu": "9000"}}
    resources["limits"]["nvidia.com/gpu"] = "99"
    await world.store.create(add(world.pod("p"), "eater", EATER, resources=resources))
    pod = await world.until("p", lambda pod: ended(pod, "eater").get("reason") == "OOMKilled")
    assert ended(pod, "eater")["exitCode"] == 137
    assert "over its limit of 100Mi" in ended(pod, "eater")["message"]
    await world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "OOMKilled")
    events = await world.events()
    assert "OMP_NUM_THREADS" in events["Normal LimitsOnThisMachine"]
    assert "eater requests more than this machine has (cpu 9000, nvidia.com/gpu 99)" in events["Warning RequestsExceedMachine"]


async def test_a_container_that_is_not_alive_is_started_again(world: World) -> None:
    await world.agent()
    alive = {"exec": {"command": ["test", "-e", "alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "import os, time; open('alive', 'w'); time.sleep(600)"
    up = {"exec": {"command": ["test", "-e", "alive"]}, "periodSeconds": 1}
    await world.store.create(add(world.pod("p"), "side", script, livenessProbe=alive, startupProbe=up))
    pod = await world.until("p", is_ready)
    (world.directory(pod) / "work" / "alive").unlink()
    pod = await world.until("p", lambda pod: is_ready(pod) and status_of(pod, "side")["restartCount"] == 1)
    assert "side: liveness probe failed: test ended with status 1" in ended(pod, "side")["message"]
    assert status_of(pod, "kserve-container")["restartCount"] == 0


async def test_hooks_run_after_the_start_and_before_the_stop(world: World) -> None:
    await world.agent()
    pod = world.pod("p")
    told = world.home / "told"

    def say(word: str) -> Object:
        return {"exec": {"command": ["sh", "-c", f"echo {word} $POD_NAME >> {told}"]}}

    pod["spec"]["containers"][0]["lifecycle"] = {"postStart": say("started"), "preStop": say("stopping")}
    await world.store.create(pod)
    await world.until("p", is_ready)
    await world.eventually(lambda: asyncio.to_thread(told.exists))
    await world.store.delete(Key("pods", "ns", "p"))
    await world.until_gone("p")
    assert told.read_text() == "started p\nstopping p\n"


async def test_a_container_starts_where_its_working_directory_is(world: World, tmp_path: Path) -> None:
    await world.agent()
    script = "import os; print('in ' + os.getcwd(), flush=True)"
    for name, wanted in (("here", str(tmp_path)), ("mounted", "/scratch"), ("of-an-image", "/home/model-server/nowhere")):
        pod = world.pod(name, script, restartPolicy="Never", volumes=[{"name": "scratch", "emptyDir": {}}])
        pod["spec"]["containers"][0] |= {"workingDir": wanted, "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
        await world.store.create(pod)
        pod = await world.until(name, lambda pod: (pod.get("status") or {}).get("phase") == "Succeeded")
        place = {"here": tmp_path, "mounted": world.directory(pod) / "volumes" / "scratch"}.get(name, world.directory(pod) / "work")
        assert f"in {place}\n" in (world.directory(pod) / "logs" / "kserve-container.log").read_text()


async def test_a_failing_hook_is_told_and_starts_the_container_again(world: World) -> None:
    await world.agent()
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo no door; exit 3"]}}}
    await world.store.create(add(world.pod("p"), "side", SLEEPER, lifecycle=hook))
    pod = await world.until("p", lambda pod: status_of(pod, "side").get("restartCount", 0) > 0)
    assert "its postStart hook failed: sh ended with status 3: no door" in ended(pod, "side")["message"]


async def test_what_is_not_to_be_restarted_ends_and_stays_ended(world: World) -> None:
    await world.agent()
    pod = world.pod("job", "print('done')", restartPolicy="Never")
    await world.store.create(pod)
    pod = await world.until("job", lambda pod: (pod.get("status") or {}).get("phase") == "Succeeded")
    assert status_of(pod, "kserve-container")["state"]["terminated"]["exitCode"] == 0
    await world.store.create(world.pod("bad", "raise SystemExit(4)", restartPolicy="Never"))
    await world.until("bad", lambda pod: (pod.get("status") or {}).get("phase") == "Failed")
    await world.agents[0].stop(kill_pods=False)
    await world.agent()
    await world.store.delete(Key("pods", "ns", "job"))
    await world.until_gone("job")
    assert not await _has_event(world, "Normal Adopted")


async def test_volumes_bring_keys_and_fields_as_files(world: World) -> None:
    await world.agent()
    values = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}, "data": {"k": "value"}}
    await world.store.create(values)
    script = "import sys, time; print(*(open(path).read() for path in sys.argv[1:]), flush=True); time.sleep(600)"
    mounts = [{"name": "all", "mountPath": "/all"}, {"name": "all", "mountPath": "/etc/one", "subPath": "in/k"}]
    pod = add(world.pod("p"), "side", script, volumeMounts=mounts, args=["/all/in/k", "/etc/one", "/all/name"])
    fields = [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
    config = {"name": "c", "items": [{"key": "k", "path": "in/k"}]}
    absent = {"name": "absent", "optional": True}
    sources = [{"configMap": config}, {"secret": absent}, {"downwardAPI": {"items": fields}}]
    pod["spec"]["volumes"] = [{"name": "all", "projected": {"sources": sources}}]
    await world.store.create(pod)
    pod = await world.until("p", is_ready)

    async def printed() -> bool:
        return log_of(world, pod, "side") == "value value p\n"

    await world.eventually(printed, lambda: log_of(world, pod, "side"))


async def test_a_model_and_a_collocated_container_share_the_address(world: World) -> None:
    await world.agent()
    probe = {"readinessProbe": {"httpGet": {"path": "/", "port": 9000}}, "ports": [{"containerPort": 9000}]}
    await world.store.create(add(world.pod("p"), "transformer-container", SERVER, **probe))
    pod = await world.until("p", is_ready)
    assert status_of(pod, "transformer-container")["ready"]
