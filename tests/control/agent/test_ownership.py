"""Real pods that run as other users: what they are, what is theirs, and what is closed to them."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flambeau.control.agent import ownership
from flambeau.control.agent.directory import PodDirectory, PodId
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.processes import ProcessRecord
from flambeau.foundation.run_as import RunAs
from tests.control.agent.world import World, condition, is_ready, namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes as somebody else")

SYSTEM_PYTHON = "/usr/bin/python3"
"""This test's own interpreter may lie in a folder that is closed to others."""
USER, SPY = 54321, 54322


@pytest.fixture
async def open_world() -> AsyncIterator[World]:
    """A world in a home that others may reach; pytest's own folders are closed to them."""
    home = Path(tempfile.mkdtemp(prefix="flambeau-home-", dir="/tmp"))
    store = SqliteStore.open(home / "store.db")
    await store.create(namespace("ns"))
    world = World(store, home)
    yield world
    for agent in world.agents:
        await agent.stop(kill_pods=True)
    world.store.close()
    shutil.rmtree(home)


def shell(world: World, name: str, script: str, *arguments: str, security: Object | None = None, **spec: Any) -> Object:
    pod = world.pod(name, "", restartPolicy="Never", securityContext=security or {}, **spec)
    pod["spec"]["containers"][0]["command"] = ["/bin/sh", "-c", script, "sh", *arguments]
    return pod


def phase_is(*phases: str) -> Any:
    return lambda pod: (pod.get("status") or {}).get("phase") in phases


def log_of(world: World, pod: Object) -> str:
    return (world.directory(pod) / "logs" / "kserve-container.log").read_text()


async def test_a_pod_runs_as_who_it_says_with_its_groups_and_no_way_to_more(open_world: World) -> None:
    world = open_world
    await world.agent()
    script = 'id -u; id -g; id -G; grep NoNewPrivs /proc/self/status; echo $HOME; touch "$HOME/mine" && stat -c %u "$HOME/mine"'
    pod = shell(world, "p", script, security={"runAsUser": USER, "runAsGroup": 61, "fsGroup": 62, "supplementalGroups": [63]})
    pod["spec"]["containers"][0]["securityContext"] = {"allowPrivilegeEscalation": False}
    await world.store.create(pod)
    pod = await world.until("p", phase_is("Succeeded"))
    work = world.directory(pod) / "work"
    assert log_of(world, pod).split() == [str(USER), "61", "61", "62", "63", "NoNewPrivs:", "1", str(work), str(USER)]


async def test_a_pod_reads_its_own_and_nothing_of_the_store_or_of_others(open_world: World) -> None:
    world = open_world
    await world.agent()
    words = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns"}, "stringData": {"k": "hush"}}
    await world.store.create({**words, "data": {"k": "aHVzaA=="}, "stringData": {}})
    volumes = [{"name": "keys", "secret": {"secretName": "s"}}, {"name": "scratch", "emptyDir": {}}]
    mounts = [{"name": "keys", "mountPath": "/keys"}, {"name": "scratch", "mountPath": "/scratch", "subPath": "deep/er"}]
    own = "cat /keys/k; echo mine > /scratch/words; cat /scratch/words; echo mine > words; echo bye > $FLAMBEAU_TERMINATION_LOG; exit 3"
    victim = shell(world, "victim", own, security={"runAsUser": USER}, volumes=volumes)
    victim["spec"]["containers"][0]["volumeMounts"] = mounts
    await world.store.create(victim)
    victim = await world.until("victim", phase_is("Failed"))
    assert log_of(world, victim) == "hushmine\n"
    assert victim["status"]["containerStatuses"][0]["state"]["terminated"]["message"].endswith("status 3: bye")

    theirs = world.directory(victim)
    closed = [
        *(world.home / name for name in ("store.db", ".", "pods", "cache", "doors")),
        *(theirs / name for name in (".", "work", "work/words", "volumes/keys/k", "volumes/scratch", "volumes/scratch/deep/er/words")),
        *(theirs / name for name in ("logs", "logs/kserve-container.log", "processes", "pod.json", "terminations")),
    ]
    assert all(path.exists() for path in closed)
    look = 'if [ -d "$each" ]; then ls "$each"; else cat "$each"; fi && echo "LEAK $each"'
    script = f'for each; do {look}; echo x > "$each/x" && echo "LEAK $each"; done; true'
    await world.store.create(shell(world, "spy", script, *map(str, closed), security={"runAsUser": SPY}))
    spy = await world.until("spy", phase_is("Succeeded", "Failed"))
    said = log_of(world, spy)
    assert "LEAK" not in said
    assert said.count("Permission denied") >= len(closed), said


async def test_a_group_shares_a_pod_s_volumes(open_world: World) -> None:
    world = open_world
    claim = world.home / "volumes" / "ns" / "c"
    claim.mkdir(parents=True)
    await world.agent()
    await world.store.create(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "ns"}, "spec": {}}
    )
    volumes = [{"name": "scratch", "emptyDir": {}}, {"name": "kept", "persistentVolumeClaim": {"claimName": "c"}}]
    script = "for each in /scratch /kept; do echo x > $each/x && stat -c '%g %a' $each && stat -c %g $each/x; done"
    pod = shell(world, "p", script, security={"runAsUser": USER, "fsGroup": 62}, volumes=volumes)
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "scratch", "mountPath": "/scratch"}, {"name": "kept", "mountPath": "/kept"}]
    await world.store.create(pod)
    pod = await world.until("p", phase_is("Succeeded", "Failed"))
    assert log_of(world, pod).splitlines() == ["62 2770", "62", "62 2775", "62"]


@pytest.mark.skipif(not Path(SYSTEM_PYTHON).exists(), reason="no interpreter that every user may run")
async def test_a_server_of_another_user_serves_is_probed_asked_and_adopted(open_world: World) -> None:
    world = open_world
    pod = world.pod("p", securityContext={"runAsUser": USER, "runAsNonRoot": True})
    pod["spec"]["containers"][0]["command"][0] = SYSTEM_PYTHON
    pod["spec"]["containers"][0]["livenessProbe"] = {"exec": {"command": ["sh", "-c", f"test $(id -u) = {USER}"]}, "periodSeconds": 1}
    await world.orphan(pod)
    agent = await world.agent()
    pod = await world.until("p", is_ready)
    assert "Normal Adopted" in await world.events()
    command = await agent.commands.start("ns", "p", "kserve-container", ["sh", "-c", "id -u; pwd; id -G"], terminal=False)
    output = b"".join([piece async for piece in command.output("stdout")])
    assert await command.ended() == 0
    await command.end()
    assert output.decode().split() == [str(USER), str(world.directory(pod) / "work"), str(USER)]
    record = ProcessRecord.load(world.directory(pod) / "processes" / "kserve-container.json")
    assert record is not None
    await world.store.delete(Key("pods", "ns", "p"))
    await world.until_gone("p")
    assert not record.is_alive()
    assert not list((world.home / "doors").iterdir())


async def test_who_must_not_be_root_and_would_be_is_told_what_to_do(open_world: World) -> None:
    world = open_world
    await world.agent()
    await world.store.create(shell(world, "p", "true", security={"runAsNonRoot": True, "runAsUser": 0}))
    pod = await world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "CreateContainerConfigError")
    assert "set securityContext.runAsUser to the id of another user" in condition(pod, "Ready")["message"]


async def test_a_home_or_a_program_that_is_closed_is_told(world: World, open_world: World) -> None:
    await world.agent()
    await world.store.create(shell(world, "p", "true", security={"runAsUser": USER}))
    pod = await world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "CreateContainerConfigError")
    assert f"user {USER} may not pass /tmp/" in condition(pod, "Ready")["message"]
    assert "--home in a folder that every user may pass" in condition(pod, "Ready")["message"]

    await open_world.agent()
    program = open_world.home / "closed" / "program"
    program.parent.mkdir(mode=0o700)
    shutil.copy("/bin/true", program)
    pod = shell(open_world, "p", "", security={"runAsUser": USER})
    pod["spec"]["containers"][0]["command"] = [str(program)]
    await open_world.store.create(pod)
    pod = await open_world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "CreateContainerConfigError")
    assert f"user {USER} may not pass {program.parent}, on the way to {program}" in condition(pod, "Ready")["message"]


async def test_a_model_that_is_used_in_place_behind_a_closed_folder_is_told(open_world: World) -> None:
    world = open_world
    await world.store.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "ns"}})
    await world.agent()
    model = world.home / "closed" / "model"
    model.mkdir(parents=True)
    model.parent.chmod(0o700)
    (model / "weights").write_text("w")
    pod = world.pod("p", uri=f"file://{model}", securityContext={"runAsUser": USER})
    await world.store.create(pod)
    pod = await world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "CreateContainerConfigError")
    assert f"user {USER} may not pass {model.parent}, on the way to the model" in condition(pod, "Ready")["message"]


def test_the_way_is_opened_and_what_is_beside_it_closed_but_for_what_is_not_ours(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("pods", "doors", "cache/trees/t", "cache/objects", "gateway", "pki", "else"):
        (home / name).mkdir(parents=True)
    for name in ("store.db", "store.db-wal", "kubeconfig", "mine"):
        (home / name).write_text("")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    ownership.open_way(home)
    ownership.open_way(home)
    modes = {str(path.relative_to(home)): f"{stat.S_IMODE(path.stat().st_mode):o}" for path in (home, *home.rglob("*"))}
    assert modes == {
        **dict.fromkeys(("pods", "doors", "cache", "cache/trees"), "711"),
        **dict.fromkeys(("cache/objects", "gateway", "pki"), "700"),
        **dict.fromkeys(("store.db", "store.db-wal", "kubeconfig"), "600"),
        **dict.fromkeys((".", "cache/trees/t", "else"), "755"),
        "mine": "644",
    }


def test_links_of_a_pod_lead_the_agent_nowhere(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "volumes" / "scratch", tmp_path / "elsewhere"
    root.parent.mkdir()
    elsewhere.mkdir()
    ownership.give_folder(root, Path("a/b"), RunAs(USER, USER), None)
    assert [((root / each).stat().st_uid, stat.S_IMODE((root / each).stat().st_mode)) for each in ("", "a", "a/b")] == [(USER, 0o700)] * 3
    (root / "out").symlink_to(elsewhere)
    with pytest.raises(InvalidInput, match="leads over out, which is none"):
        ownership.give_folder(root, Path("out/c"), RunAs(USER, USER), None)
    assert not list(elsewhere.iterdir())

    directory = PodDirectory(tmp_path / "pods", PodId("ns", "p", "u" * 36))
    directory.create()
    (elsewhere / "secret").write_text("hush")
    directory.termination_log("c").symlink_to(elsewhere / "secret")
    assert directory.last_words("c") == ""
    os.mkfifo(directory.termination_log("d"))
    assert directory.last_words("d") == ""
