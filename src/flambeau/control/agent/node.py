"""This machine as a Node: what it has, and that it is ready."""

from __future__ import annotations

import os
import platform

import psutil

from flambeau import __version__
from flambeau.control.resources.conditions import set_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.node import NODE
from flambeau.control.resources.pod_contract import NODE_NAME
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import NotFound

PODS_MAX = 1000
"""As many as there are addresses to give without care; nothing else counts pods."""


async def register(store: Store, clock: Clock) -> None:
    """Write this machine's Node.

    Raises:
        Unavailable: the store cannot write.
    """
    try:
        stored = await store.get(NODE.key({"metadata": {"name": NODE_NAME}}))
    except NotFound:
        stored = await store.create(_node())
    status = _status(stored, clock.wall())
    if status != stored.get("status"):
        await store.update({**stored, "status": status}, status=True)


def _node() -> Object:
    machine = platform.machine()
    labels = {
        "kubernetes.io/hostname": NODE_NAME,
        "kubernetes.io/os": platform.system().lower(),
        "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "node-role.kubernetes.io/control-plane": "",
    }
    return {"apiVersion": NODE.api_version, "kind": NODE.kind, "metadata": {"name": NODE_NAME, "labels": labels}, "spec": {}}


def _status(node: Object, now: float) -> Object:
    conditions = [dict(each) for each in find(node, "status", "conditions") or ()]
    set_condition(conditions, "Ready", "True", "AgentReady", "the agent runs pods as processes", now)
    for type, reason in (
        ("MemoryPressure", "HasSufficientMemory"),
        ("DiskPressure", "HasNoDiskPressure"),
        ("PIDPressure", "HasSufficientPID"),
    ):
        set_condition(conditions, type, "False", reason, "not watched: it is the machine's", now)
    capacity = {"cpu": str(os.cpu_count() or 1), "memory": f"{psutil.virtual_memory().total // 1024}Ki", "pods": str(PODS_MAX)}
    info = {
        "operatingSystem": platform.system().lower(),
        "architecture": platform.machine(),
        "kernelVersion": platform.release(),
        "osImage": f"{platform.system()} {platform.release()}",
        "containerRuntimeVersion": "processes://" + __version__,
        "kubeletVersion": f"v{__version__}",
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": NODE_NAME}]
    return {"capacity": capacity, "allocatable": dict(capacity), "conditions": conditions, "addresses": addresses, "nodeInfo": info}
