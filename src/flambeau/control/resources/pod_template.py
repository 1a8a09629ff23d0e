"""What InferenceServices, runtimes and pods have in common: containers and the fields of a pod. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flambeau.control.resources.fields.pods import SERVING_POD_FIELDS
from flambeau.control.resources.images import stands_for_own_command
from flambeau.control.resources.kind import Finding, Object
from flambeau.control.resources.lookup import find, mappings_at

SERVER_CONTAINER = "kserve-container"
"""The container that serves the model."""

TRANSFORMER_CONTAINER = "transformer-container"

POD_SPEC_FIELDS = tuple(SERVING_POD_FIELDS)
"""All of a PodSpec that can be written in an InferenceService, too."""

NO_EFFECT_FIELDS = (
    *("nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "nodeName", "schedulerName", "schedulingGates"),
    *("priorityClassName", "priority", "preemptionPolicy", "runtimeClassName", "overhead", "os", "resourceClaims"),
    *("dnsPolicy", "dnsConfig", "hostAliases", "hostname", "subdomain", "setHostnameAsFQDN", "hostnameOverride"),
    *("hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"),
    *("imagePullSecrets", "readinessGates"),
)
"""Fields about nodes, scheduling and isolation: one machine without containers has nothing to apply them to."""

_SECURITY_FIELDS = ("runAsUser", "runAsGroup", "runAsNonRoot", "fsGroup", "supplementalGroups")
"""Of a pod's securityContext: those that the agent follows."""


def no_effect_warning(pod: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield one warning that names the fields that change nothing here, if there are any."""
    idle = [name for name in NO_EFFECT_FIELDS if pod.get(name)]
    security = pod.get("securityContext")
    if isinstance(security, Mapping):
        idle += [f"securityContext.{name}" for name in sorted(security) if security[name] and name not in _SECURITY_FIELDS]
    if idle:
        yield f"{path}: {', '.join(idle)} {'has' if len(idle) == 1 else 'have'} no effect on one machine"


def image_warnings(container: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield a warning for an image that is neither one of ours nor given a command: it cannot run here."""
    image = container.get("image")
    if isinstance(image, str) and image and not container.get("command") and not stands_for_own_command(image):
        yield (
            f"{path}.image: {image} cannot be run here: images are not pulled on one machine; "
            "use pytorch/torchserve or flambeau/..., or give the container a command that exists on this machine"
        )


def forbidden_environment(container: Mapping[str, Any], path: str, names: tuple[str, ...]) -> Iterator[Finding]:
    """Yield a finding for each environment variable of a container that may not be set."""
    for index, variable in enumerate(mappings_at(container, "env")):
        if variable.get("name") in names:
            message = f"the environment variable {variable['name']} may not be set here"
            yield Finding(f"{path}.env[{index}]", message, variable["name"], "FieldValueForbidden")


def environment_value(container: Mapping[str, Any], name: str) -> str | None:
    """Return the plain value of an environment variable of a container, or None."""
    values = [variable.get("value") for variable in mappings_at(container, "env") if variable.get("name") == name]
    return values[-1] if values and isinstance(values[-1], str) else None


def containers_with_paths(pod: Mapping[str, Any], path: str) -> Iterator[tuple[Object, str]]:
    """Yield each container of a pod's fields with its path, init containers included."""
    for field in ("initContainers", "containers"):
        for index, container in enumerate(mappings_at(pod, field)):
            yield container, f"{path}.{field}[{index}]"


def name_first_container(pod: Mapping[str, Any]) -> None:
    """Give the first container, if it has none, the name of the server, in place."""
    containers = find(pod, "containers")
    if isinstance(containers, list) and containers and isinstance(containers[0], dict) and not containers[0].get("name"):
        containers[0]["name"] = SERVER_CONTAINER
