"""Pods become processes: started, probed, restarted, drained, adopted."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path

import psutil
import pytest

from flambeau.control.agent.directory import Notes, PodDirectory, PodId
from flambeau.control.agent.process import TERMINATION_LOG_VARIABLE
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import modify
from flambeau.foundation.processes import ProcessRecord, start_detached
from tests.control.agent.world import World, condition, is_ready, server_status


def process_of(world: World, pod: Object) -> ProcessRecord:
    record = ProcessRecord.load(world.directory(pod) / "processes" / "kserve-container.json")
    assert record is not None
    return record


async def ready_pod(world: World, pod: Object) -> Object:
    await world.store.create(pod)
    return await world.until(pod["metadata"]["name"], is_ready)


async def delete(world: World, name: str) -> None:
    await world.store.delete(Key("pods", "ns", name))


async def test_a_pod_becomes_a_ready_process_and_goes_when_it_is_deleted(world: World) -> None:
    agent = await world.agent()
    pod = await ready_pod(world, world.pod("p", arguments=("--flag",)))
    status = pod["status"]
    assert (status["phase"], status["podIP"][:4]) == ("Running", "127.")
    assert [each["ready"] for each in status["containerStatuses"]] == [True, True]
    record = process_of(world, pod)
    logged = b"".join([piece async for piece in agent.logs.stream("ns", "p", "kserve-container")])
    assert logged == b"serving ['--flag']\n"
    await delete(world, "p")
    await world.until_gone("p")
    assert not record.is_alive()
    assert list((world.home / "pods").iterdir()) == []
    assert (await world.events()).keys() >= {"Normal Started", "Normal Killing"}


async def test_two_pods_have_the_same_port_on_addresses_of_their_own(world: World) -> None:
    await world.agent()
    first, second = await asyncio.gather(ready_pod(world, world.pod("a")), ready_pod(world, world.pod("b")))
    assert first["status"]["podIP"] != second["status"]["podIP"]


async def test_a_killed_process_is_started_again_and_its_cause_is_told(world: World) -> None:
    await world.agent()
    pod = await ready_pod(world, world.pod("p"))
    os.kill(process_of(world, pod).pid, signal.SIGKILL)
    pod = await world.until("p", lambda pod: is_ready(pod) and server_status(pod)["restartCount"] == 1)
    ended = server_status(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["signal"]) == (137, signal.SIGKILL)
    assert "was killed by SIGKILL" in ended["message"]


async def test_a_crash_is_told_with_the_programs_own_words(world: World) -> None:
    agent = await world.agent()
    script = """
        import os, pathlib, sys
        print("first line")
        pathlib.Path(os.environ["FLAMBEAU_TERMINATION_LOG"]).write_text("cannot load model m: no archive")
        sys.exit(3)
    """
    await world.store.create(world.pod("p", script))
    pod = await world.until("p", lambda pod: "waiting" in server_status(pod).get("state", {}) and server_status(pod)["restartCount"] > 0)
    words = "kserve-container exited with status 3: cannot load model m: no archive"
    waiting = server_status(pod)["state"]["waiting"]
    assert waiting == {"reason": "CrashLoopBackOff", "message": words}
    assert (condition(pod, "Ready")["reason"], condition(pod, "Ready")["message"]) == ("ExitCode3", words)
    # While it is tried again the pod still says how the last try ended.
    pod = await world.until("p", lambda pod: server_status(pod)["restartCount"] == 2)
    assert condition(pod, "Ready")["message"] == words
    previous = [piece async for piece in agent.logs.stream("ns", "p", "kserve-container", previous=True)]
    assert previous == [b"first line\n"]


async def test_a_program_without_words_is_told_by_the_end_of_its_log(world: World) -> None:
    await world.agent()
    await world.store.create(world.pod("p", "raise ValueError('the moon is wrong')"))
    pod = await world.until("p", lambda pod: "terminated" in server_status(pod).get("lastState", {}))
    assert "ValueError: the moon is wrong" in condition(pod, "Ready")["message"]


async def test_a_process_that_ignores_sigterm_is_killed(world: World) -> None:
    await world.agent()
    script = """
        import os, signal, socket
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        server = socket.create_server((os.environ["FLAMBEAU_POD_IP"], 8080))
        while True:
            server.accept()[0].close()
    """
    pod = world.pod("p", script, terminationGracePeriodSeconds=1)
    del pod["spec"]["containers"][0]["readinessProbe"]
    pod = await ready_pod(world, pod)
    record = process_of(world, pod)
    await delete(world, "p")
    await world.until_gone("p")
    assert not record.is_alive()
    assert "the process ignored SIGTERM for 1 s: SIGKILL" in (await world.events()).values()


async def test_what_a_process_started_ends_with_it(world: World) -> None:
    await world.agent()
    script = """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(child.pid, flush=True)
        sys.exit(1)
    """
    pod = await world.store.create(world.pod("p", script))
    await world.until("p", lambda pod: "terminated" in server_status(pod).get("lastState", {}))
    logs = list((world.directory(pod) / "logs").glob("kserve-container*.log"))
    child = int(logs[0].read_text())

    async def ended() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    await world.eventually(ended)


async def test_a_draining_pod_serves_until_the_gateway_lets_it_go(world: World) -> None:
    await world.agent()
    wanted = world.pod("p")
    wanted["metadata"]["finalizers"].append("flambeau.dev/gateway")
    pod = await ready_pod(world, wanted)
    await delete(world, "p")
    await world.until("p", lambda pod: condition(pod, "Ready")["status"] == "False")
    assert process_of(world, pod).is_alive()
    await modify(world.store, Key("pods", "ns", "p"), lambda pod: pod["metadata"]["finalizers"].remove("flambeau.dev/gateway"))
    await world.until_gone("p")


async def test_an_unready_answer_is_told_in_its_own_words(world: World) -> None:
    await world.agent()
    pod = await ready_pod(world, world.pod("p"))
    (world.directory(pod) / "work" / "unready").touch()
    pod = await world.until("p", lambda pod: not is_ready(pod))
    assert (condition(pod, "Ready")["reason"], condition(pod, "Ready")["message"]) == ("WorkerLost", "model m has no worker")
    (world.directory(pod) / "work" / "unready").unlink()
    await world.until("p", is_ready)


async def test_an_image_that_cannot_run_says_so(world: World) -> None:
    await world.agent()
    pod = world.pod("p")
    del pod["spec"]["containers"][0]["command"]
    await world.store.create(pod)
    pod = await world.until("p", lambda pod: "waiting" in server_status(pod).get("state", {}) and bool(condition(pod, "Ready")))
    pod = await world.until("p", lambda pod: condition(pod, "Ready")["reason"] == "ImageCannotRun")
    assert "example/server:1" in condition(pod, "Ready")["message"]
    assert server_status(pod)["state"]["waiting"]["reason"] == "ImageCannotRun"


# Models and credentials


def model(world: World) -> str:
    folder = world.home / "model"
    folder.mkdir()
    (folder / "weights").write_text("1 2 3")
    return f"file://{folder}"


async def test_the_model_is_fetched_and_found_under_its_mount_path(world: World) -> None:
    agent = await world.agent()
    await account(world, "default")
    script = "print(open('/mnt/models/weights').read(), flush=True)\nimport time\ntime.sleep(600)"
    pod = await world.store.create(world.pod("p", script, uri=model(world)))
    pod = await world.until("p", lambda pod: "running" in server_status(pod).get("state", {}))
    initializer = pod["status"]["initContainerStatuses"][0]
    assert initializer["state"]["terminated"]["exitCode"] == 0
    assert (world.directory(pod) / "mnt" / "models" / "weights").read_text() == "1 2 3"

    async def read() -> bool:
        return [piece async for piece in agent.logs.stream("ns", "p", "kserve-container")] == [b"1 2 3\n"]

    await world.eventually(read)
    words = b"".join([piece async for piece in agent.logs.stream("ns", "p", "storage-initializer", follow=True)])
    assert b"fetched file://" in words


async def account(world: World, name: str, *secrets: str) -> None:
    metadata = {"name": name, "namespace": "ns"}
    names = [{"name": each} for each in secrets]
    await world.store.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "secrets": names})


async def test_a_missing_account_and_a_missing_secret_are_told_and_mended_at_once(world: World) -> None:
    await world.agent()
    await world.store.create(world.pod("p", uri=model(world), serviceAccountName="sa"))
    pod = await world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "ServiceAccountNotFound")
    assert 'ServiceAccount "sa" is not there in namespace ns' in condition(pod, "Ready")["message"]
    waiting = pod["status"]["initContainerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "CrashLoopBackOff"
    await account(world, "sa", "creds")
    pod = await world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "SecretNotFound")
    assert 'Secret "creds", named by ServiceAccount "sa", is not there' in condition(pod, "Ready")["message"]
    await world.store.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "creds", "namespace": "ns"}})
    await world.until("p", is_ready)


# Agents come and go


@pytest.fixture
async def orphaned(world: World) -> ProcessRecord:
    """Return the process of the ready pod ``p``, whose agent was killed with kill -9."""
    return process_of(world, await world.orphan(world.pod("p")))


async def test_a_living_process_is_adopted_without_a_gap(world: World, orphaned: ProcessRecord) -> None:
    assert orphaned.is_alive()
    before = (await world.get("p"))["status"]
    await world.agent()
    await asyncio.sleep(0.3)  # long enough for several probes
    pod = await world.get("p")
    assert condition(pod, "Ready") == condition({"status": before}, "Ready")
    assert pod["status"]["podIP"] == before["podIP"]
    assert (process_of(world, pod), server_status(pod)["restartCount"]) == (orphaned, 0)
    await delete(world, "p")
    await world.until_gone("p")
    assert not orphaned.is_alive()


async def test_a_process_whose_notes_are_lost_is_ended_and_begun_anew(world: World, orphaned: ProcessRecord) -> None:
    [notes] = (world.home / "pods").glob("*/pod.json")
    notes.write_bytes(b"{")
    await world.agent()
    pod = await world.until("p", lambda pod: is_ready(pod) and not orphaned.is_alive())
    assert process_of(world, pod).pid != orphaned.pid


async def test_an_init_container_that_an_earlier_agent_left_is_ended_first(world: World) -> None:
    pod = world.pod("p")
    pod["spec"]["initContainers"] = [{"name": "first", "image": "i", "command": ["true"]}]
    directory = PodDirectory(world.home / "pods", PodId.of(await world.store.create(pod)))
    directory.create()
    directory.write_notes(Notes("127.0.0.77"))
    child, left = start_detached(["sleep", "600"], environment={}, directory=directory.work, log=directory.path / "logs" / "first.log")
    directory.write_record("first", left)
    await world.agent()
    await world.until("p", is_ready)
    assert child.wait(10) == -signal.SIGKILL


async def test_a_process_that_cannot_be_written_down_is_not_left_running(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[ProcessRecord] = []
    save = ProcessRecord.save

    def full(record: ProcessRecord, path: Path) -> None:
        started.append(record)
        if len(started) < 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(record, path)

    monkeypatch.setattr(ProcessRecord, "save", full)
    await world.agent()
    await world.store.create(world.pod("p"))
    pod = await world.until("p", is_ready)
    assert [record.is_alive() for record in started] == [False, True]
    assert process_of(world, pod) == started[1]


async def test_a_process_that_a_runner_lost_ends_with_the_agent(world: World) -> None:
    agent = await world.agent()
    pods = world.home / "pods"
    lost, record = start_detached(
        ["sleep", "600"], environment={TERMINATION_LOG_VARIABLE: str(pods / "p" / "t")}, directory=pods, log=pods / "log"
    )
    await agent.stop(kill_pods=True)
    assert not record.is_alive()
    lost.wait(10)


async def test_the_end_of_an_adopted_process_is_noticed(world: World, orphaned: ProcessRecord) -> None:
    await world.agent()
    os.kill(orphaned.pid, signal.SIGKILL)
    pod = await world.until("p", lambda pod: is_ready(pod) and server_status(pod)["restartCount"] == 1)
    assert process_of(world, pod).pid != orphaned.pid


async def test_a_process_that_died_meanwhile_is_started_again(world: World, orphaned: ProcessRecord) -> None:
    os.kill(orphaned.pid, signal.SIGKILL)
    psutil.Process(orphaned.pid).wait(10)
    await world.agent()
    pod = await world.until("p", lambda pod: is_ready(pod) and server_status(pod)["restartCount"] == 1)
    assert "its exit status is unknown" in server_status(pod)["lastState"]["terminated"]["message"]


async def test_a_process_whose_pod_is_gone_is_stopped(world: World, orphaned: ProcessRecord) -> None:
    await modify(world.store, Key("pods", "ns", "p"), lambda pod: pod["metadata"].update(finalizers=[]))
    await delete(world, "p")
    await world.agent()
    assert not orphaned.is_alive()
    assert list((world.home / "pods").iterdir()) == []


async def test_stopping_the_platform_stops_pods_and_the_next_agent_starts_them_again(world: World) -> None:
    agent = await world.agent()
    pod = await ready_pod(world, world.pod("p"))
    record = process_of(world, pod)
    await agent.stop(kill_pods=True)
    assert not record.is_alive()
    assert not is_ready(await world.get("p"))
    await world.agent()
    pod = await world.until("p", is_ready)
    assert server_status(pod)["restartCount"] == 0
