"""How one thing names another: labels, keys of secrets and config maps, fields of a pod. Pure."""

from __future__ import annotations

from flambeau.control.resources.fields.words import (
    BOOLEAN,
    INT32,
    QUANTITY,
    STRING,
    STRING_MAP,
    STRINGS,
    an_object,
    fields,
    or_else,
    whole_list_of,
)

NAME_OR_EMPTY = or_else(STRING, "")
"""Names of objects beside this one; Kubernetes lets old clients leave them out."""

LOCAL_REFERENCE = an_object({"name": NAME_OR_EMPTY})
NAMED = an_object({"name": STRING}, ("name",))

REQUIREMENT = an_object({"key": STRING, "operator": STRING, "values": STRINGS}, ("key", "operator"))
"""A condition on a label: In, NotIn, Exists, DoesNotExist."""

LABEL_SELECTOR = an_object({"matchLabels": STRING_MAP, "matchExpressions": whole_list_of(REQUIREMENT)})

WHOLE_SOURCE = an_object({"name": NAME_OR_EMPTY, "optional": BOOLEAN})
"""A Secret or ConfigMap."""

KEY_OF_SOURCE = an_object({"name": NAME_OR_EMPTY, "key": STRING, "optional": BOOLEAN}, ("key",))
"""One entry of a Secret or ConfigMap."""

KEY_OF_FILE = an_object(
    {"volumeName": STRING, "path": STRING, "key": STRING, "optional": or_else(BOOLEAN, False)}, ("key", "path", "volumeName")
)
"""One entry of a file of variables in a volume."""

KEY_TO_PATH = an_object({"key": STRING, "path": STRING, "mode": INT32}, ("key", "path"))
"""Where an entry of a Secret or ConfigMap goes in a volume."""

POD_FIELD = an_object({"apiVersion": STRING, "fieldPath": STRING}, ("fieldPath",))
CONTAINER_RESOURCE = an_object({"containerName": STRING, "resource": STRING, "divisor": QUANTITY}, ("resource",))

TYPED_LOCAL_REFERENCE = an_object(fields("apiGroup", "kind", "name", of=STRING), ("kind", "name"))
TYPED_REFERENCE = an_object(fields("apiGroup", "kind", "name", "namespace", of=STRING), ("kind", "name"))
