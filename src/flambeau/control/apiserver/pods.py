"""What the API server can't know from the store about pods: the agent tells it, handed over by the program that runs both."""

from __future__ import annotations

from dataclasses import dataclass

from flambeau.control.apiserver.logs import PodLogs
from flambeau.control.apiserver.metrics import PodUsage
from flambeau.control.apiserver.upgrades.commands import PodCommands


@dataclass(frozen=True, slots=True)
class Pods:
    """The agent's side of pods' subresources."""

    logs: PodLogs
    commands: PodCommands
    usage: PodUsage
