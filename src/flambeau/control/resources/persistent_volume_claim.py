"""PersistentVolumeClaim: a folder of this machine that pods of a namespace share, and that outlives them."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.words import ANYTHING, QUANTITY, STRING, STRINGS, an_object, explained, fields, map_of
from flambeau.control.resources.kind import Column, Kind, Object, Review
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_schema import object_schema

HOST_PATH_ANNOTATION = "flambeau.dev/host-path"
"""Names a folder of this machine that the claim stands for; without it, the claim gets one below HOME/volumes."""

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_RESOURCES = an_object({"requests": map_of(QUANTITY), "limits": map_of(QUANTITY)})
_SCHEMA = {
    "spec": an_object(
        {
            "accessModes": explained(STRINGS, "Who may write; not enforced on one machine."),
            "resources": explained(_RESOURCES, "How much room is wanted; not enforced on this machine."),
            **fields("storageClassName", "volumeMode", "volumeName", "volumeAttributesClassName", of=STRING),
            **fields("selector", "dataSource", "dataSourceRef", of=ANYTHING),
        }
    ),
    "status": ANYTHING,
}


def _check(obj: Object, _: Object | None) -> Review:
    warnings = []
    size = find(obj, "spec", "resources", "requests", "storage")
    if size is not None:
        warnings.append(f"spec.resources.requests.storage: {size} is not kept apart or enforced; the folder has the room of its disk")
    return Review((), tuple(warnings))


def _access_modes(obj: Object, _: float) -> str:
    modes = find(obj, "spec", "accessModes") or ()
    return ",".join(_MODES.get(mode, mode) for mode in modes)


PERSISTENT_VOLUME_CLAIM = Kind(
    group="",
    versions=("v1",),
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    singular="persistentvolumeclaim",
    short_names=("pvc",),
    columns=(
        Column("Status", lambda obj, _: find(obj, "status", "phase") or "Pending"),
        Column("Volume", lambda obj, _: find(obj, "spec", "volumeName")),
        Column("Capacity", lambda obj, _: find(obj, "status", "capacity", "storage")),
        Column("Access Modes", _access_modes),
        Column("StorageClass", lambda obj, _: find(obj, "spec", "storageClassName")),
        AGE_COLUMN,
    ),
    schema=object_schema(_SCHEMA),
    check=_check,
)
