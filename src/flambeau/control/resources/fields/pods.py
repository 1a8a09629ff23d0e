"""PodSpec. Pure."""

from __future__ import annotations

from flambeau.control.resources.fields.containers import (
    CONTAINER,
    EPHEMERAL_CONTAINER,
    IDENTITY_FIELDS,
    NAME_AND_VALUE,
    RESOURCES,
    SERVING_CONTAINER,
)
from flambeau.control.resources.fields.placement import AFFINITY, SPREAD, TOLERATION
from flambeau.control.resources.fields.references import LOCAL_REFERENCE, NAMED
from flambeau.control.resources.fields.volumes import VOLUME
from flambeau.control.resources.fields.words import (
    BOOLEAN,
    INT32,
    INT64,
    QUANTITY,
    STRING,
    STRING_MAP,
    STRINGS,
    Schema,
    an_object,
    explained,
    fields,
    list_of,
    map_of,
    whole_list_of,
)

_SECURITY = an_object(
    {
        **IDENTITY_FIELDS,
        "fsGroup": INT64,
        "supplementalGroups": whole_list_of(INT64),
        **fields("fsGroupChangePolicy", "seLinuxChangePolicy", "supplementalGroupsPolicy", of=STRING),
        "sysctls": whole_list_of(NAME_AND_VALUE),
    }
)
_DNS = an_object({**fields("nameservers", "searches", of=STRINGS), "options": whole_list_of(an_object(fields("name", "value", of=STRING)))})
_HOST_ALIAS = an_object({"ip": STRING, "hostnames": STRINGS}, ("ip",))
_CLAIM = an_object(fields("name", "resourceClaimName", "resourceClaimTemplateName", of=STRING), ("name",))
_READINESS_GATE = an_object({"conditionType": STRING}, ("conditionType",))

RUNTIME_POD_FIELDS: dict[str, Schema] = {
    "volumes": explained(list_of(VOLUME), "Files and folders that containers mount."),
    "nodeSelector": STRING_MAP,
    "affinity": AFFINITY,
    "tolerations": list_of(TOLERATION),
    "imagePullSecrets": list_of(LOCAL_REFERENCE),
    "resourceClaims": list_of(_CLAIM, keys=("name",)),
    "schedulerName": STRING,
    "hostIPC": BOOLEAN,
}
"""What runtimes, too, say of their pods."""

_SHARED_FIELDS: dict[str, Schema] = {
    **RUNTIME_POD_FIELDS,
    "initContainers": explained(
        list_of(CONTAINER), "Containers that run one after the other before the others start; with restartPolicy Always they live on."
    ),
    "serviceAccountName": explained(STRING, "Whose secrets are used to fetch models; default if nothing is said."),
    "serviceAccount": explained(STRING, "The old name of serviceAccountName."),
    "automountServiceAccountToken": explained(BOOLEAN, "Whether containers find the ServiceAccount's token."),
    "terminationGracePeriodSeconds": explained(INT64, "Seconds from the request to end until processes are killed."),
    "activeDeadlineSeconds": explained(INT64, "Seconds that the pod may run."),
    "restartPolicy": explained(STRING, "Whether containers that end are started again: Always, OnFailure or Never."),
    "enableServiceLinks": explained(BOOLEAN, "Whether containers get a variable for each Service."),
    "resources": explained(RESOURCES, "CPU and memory of the whole pod."),
    "securityContext": explained(_SECURITY, "As whom its processes run."),
    **fields("hostNetwork", "hostPID", "hostUsers", "shareProcessNamespace", "setHostnameAsFQDN", of=BOOLEAN),
    **fields("hostname", "hostnameOverride", "subdomain", "dnsPolicy", of=STRING),
    "dnsConfig": _DNS,
    "hostAliases": list_of(_HOST_ALIAS),
    **fields("nodeName", "runtimeClassName", "priorityClassName", "preemptionPolicy", of=STRING),
    "priority": INT32,
    "overhead": map_of(QUANTITY),
    "readinessGates": list_of(_READINESS_GATE),
    "schedulingGates": list_of(NAMED, keys=("name",)),
    "topologySpreadConstraints": list_of(SPREAD, keys=("topologyKey", "whenUnsatisfiable")),
}

POD_FIELDS: dict[str, Schema] = {
    "containers": explained(list_of(CONTAINER), "The processes of a pod, all on one address."),
    "ephemeralContainers": list_of(EPHEMERAL_CONTAINER),
    "os": NAMED,
    **_SHARED_FIELDS,
}
"""A pod as Kubernetes has it."""

SERVING_POD_FIELDS: dict[str, Schema] = {
    "containers": explained(list_of(SERVING_CONTAINER), "Containers of your own; the first, or kserve-container, serves."),
    "os": an_object({"name": STRING}),
    **_SHARED_FIELDS,
}
"""A pod as an InferenceService's component has it, its fields beside the component's own."""
