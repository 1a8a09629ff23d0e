"""Containers and what belongs to them: environment, probes, hooks, ports, mounts, security. Pure.

KServe takes containers in which a probe may leave out its port (the server's own is meant) and a model that may leave out the container's
name; hence ``container_fields``.
"""

from __future__ import annotations

from flambeau.control.resources.fields.references import (
    CONTAINER_RESOURCE,
    KEY_OF_FILE,
    KEY_OF_SOURCE,
    NAME_OR_EMPTY,
    POD_FIELD,
    WHOLE_SOURCE,
)
from flambeau.control.resources.fields.words import (
    BOOLEAN,
    INT32,
    INT64,
    INT_OR_STRING,
    QUANTITY,
    STRING,
    STRINGS,
    Schema,
    an_object,
    explained,
    fields,
    list_of,
    map_of,
    or_else,
    set_of,
    whole_list_of,
)

# -- environment --

_VALUE_SOURCE = an_object(
    {
        **fields("configMapKeyRef", "secretKeyRef", of=KEY_OF_SOURCE),
        "fieldRef": POD_FIELD,
        "fileKeyRef": KEY_OF_FILE,
        "resourceFieldRef": CONTAINER_RESOURCE,
    }
)
ENVIRONMENT_VARIABLE = an_object({"name": STRING, "value": STRING, "valueFrom": _VALUE_SOURCE}, ("name",))
_ENVIRONMENT_SOURCE = an_object({"prefix": STRING, **fields("configMapRef", "secretRef", of=WHOLE_SOURCE)})

# -- probes and hooks --

NAME_AND_VALUE = an_object(fields("name", "value", of=STRING), ("name", "value"))
"""An HTTP header to send, or a setting of the kernel."""

_COMMAND = an_object({"command": STRINGS})
_TCP_FIELDS = {"host": STRING, "port": INT_OR_STRING}
_HTTP_FIELDS = {**_TCP_FIELDS, **fields("path", "scheme", of=STRING), "httpHeaders": whole_list_of(NAME_AND_VALUE)}
_TCP = an_object(_TCP_FIELDS, ("port",))
_HTTP = an_object(_HTTP_FIELDS, ("port",))
_TCP_SERVER_PORT = an_object(_TCP_FIELDS)
_HTTP_SERVER_PORT = an_object(_HTTP_FIELDS)
_GRPC = an_object({"port": INT32, "service": NAME_OR_EMPTY}, ("port",))


def _probe(http: Schema, tcp: Schema) -> Schema:
    seconds = fields("initialDelaySeconds", "periodSeconds", "timeoutSeconds", of=INT32)
    counts = fields("failureThreshold", "successThreshold", of=INT32)
    ways = {"exec": _COMMAND, "grpc": _GRPC, "httpGet": http, "tcpSocket": tcp}
    return an_object({**ways, **seconds, **counts, "terminationGracePeriodSeconds": INT64})


PROBE = _probe(_HTTP, _TCP)
HTTP_SERVER_PORT_PROBE = _probe(_HTTP_SERVER_PORT, _TCP)
"""Asks the server's own port where ``httpGet`` says none."""

SERVER_PORT_PROBE = _probe(_HTTP_SERVER_PORT, _TCP_SERVER_PORT)
"""Asks the server's own port where none is said."""

_HOOK = an_object({"exec": _COMMAND, "httpGet": _HTTP, "tcpSocket": _TCP, "sleep": an_object({"seconds": INT64}, ("seconds",))})
_LIFECYCLE = an_object({"postStart": _HOOK, "preStop": _HOOK, "stopSignal": STRING})

# -- security --

PROFILE = an_object({"type": STRING, "localhostProfile": STRING}, ("type",))
IDENTITY_FIELDS = {
    **fields("runAsUser", "runAsGroup", of=INT64),
    "runAsNonRoot": BOOLEAN,
    **fields("appArmorProfile", "seccompProfile", of=PROFILE),
    "seLinuxOptions": an_object(fields("user", "role", "type", "level", of=STRING)),
    "windowsOptions": an_object(
        {**fields("gmsaCredentialSpec", "gmsaCredentialSpecName", "runAsUserName", of=STRING), "hostProcess": BOOLEAN}
    ),
}
"""As whom processes run: said of a pod or of one container."""

_SECURITY = an_object(
    {
        **IDENTITY_FIELDS,
        **fields("allowPrivilegeEscalation", "privileged", "readOnlyRootFilesystem", of=BOOLEAN),
        "capabilities": an_object({"add": STRINGS, "drop": STRINGS}),
        "procMount": STRING,
    }
)

# -- resources, ports, mounts, restarts --

RESOURCES = an_object(
    {
        **fields("requests", "limits", of=map_of(QUANTITY)),
        "claims": list_of(an_object({"name": STRING, "request": STRING}, ("name",)), keys=("name",)),
    }
)
_RESIZE_RULE = an_object(fields("resourceName", "restartPolicy", of=STRING), ("resourceName", "restartPolicy"))
_PORT = an_object(
    {
        **fields("containerPort", "hostPort", of=INT32),
        **fields("name", "hostIP", of=STRING),
        "protocol": or_else(STRING, "TCP"),
    },
    ("containerPort",),
)
_MOUNT = an_object(
    {
        **fields("name", "mountPath", "subPath", "subPathExpr", "mountPropagation", "recursiveReadOnly", of=STRING),
        "readOnly": BOOLEAN,
    },
    ("mountPath", "name"),
)
_DEVICE = an_object(fields("name", "devicePath", of=STRING), ("devicePath", "name"))
_EXIT_CODES = an_object({"operator": STRING, "values": set_of(INT32)}, ("operator",))
_RESTART_RULE = an_object({"action": STRING, "exitCodes": _EXIT_CODES}, ("action",))

# -- the container --


def container_fields(probe: Schema = PROBE) -> dict[str, Schema]:
    """Return the fields of a container.

    Args:
        probe: of liveness and readiness; start-up probes are always ``PROBE``.
    """
    return {
        "name": explained(STRING, "The container's name: kserve-container serves the model."),
        "image": explained(STRING, "Says what to run: pytorch/torchserve and flambeau/... are this program's own servers."),
        "command": explained(STRINGS, "What to run instead of the image's own program."),
        "args": explained(STRINGS, "Arguments of the command."),
        "workingDir": explained(STRING, "Where the command starts."),
        "env": explained(list_of(ENVIRONMENT_VARIABLE, keys=("name",)), "Environment variables: plain values, or taken from secrets."),
        "envFrom": explained(whole_list_of(_ENVIRONMENT_SOURCE), "Secrets and config maps whose entries all become variables."),
        "ports": explained(list_of(_PORT, keys=("containerPort", "protocol")), "Where it listens; a port named h2c takes gRPC."),
        "resources": explained(RESOURCES, "CPU and memory that are asked for and allowed."),
        "resizePolicy": whole_list_of(_RESIZE_RULE),
        "livenessProbe": explained(probe, "A question whose failing restarts the container."),
        "readinessProbe": explained(probe, "A question whose answer decides whether requests are sent."),
        "startupProbe": explained(PROBE, "A question to be answered once before the other probes begin."),
        "lifecycle": explained(_LIFECYCLE, "What is done after its start, and before its end."),
        "securityContext": explained(_SECURITY, "As whom it runs, and what it may do."),
        "volumeMounts": explained(list_of(_MOUNT, keys=("mountPath",)), "Where it finds the pod's volumes."),
        "volumeDevices": list_of(_DEVICE, keys=("devicePath",)),
        "restartPolicyRules": whole_list_of(_RESTART_RULE),
        **fields("imagePullPolicy", "restartPolicy", "terminationMessagePath", "terminationMessagePolicy", of=STRING),
        **fields("stdin", "stdinOnce", "tty", of=BOOLEAN),
    }


CONTAINER = an_object(container_fields(), ("name",))
SERVING_CONTAINER = an_object(container_fields(HTTP_SERVER_PORT_PROBE), ("name",))
"""A container of an InferenceService's component."""

EPHEMERAL_CONTAINER = an_object({**container_fields(), "targetContainerName": STRING}, ("name",))
