"""Volumes: everything that Kubernetes mounts into containers. Pure.

Few of them mean anything on one machine; all of them can be written in an InferenceService that was made for a cluster.
"""

from __future__ import annotations

from flambeau.control.resources.fields.references import (
    CONTAINER_RESOURCE,
    KEY_TO_PATH,
    LABEL_SELECTOR,
    LOCAL_REFERENCE,
    NAME_OR_EMPTY,
    POD_FIELD,
    TYPED_LOCAL_REFERENCE,
    TYPED_REFERENCE,
)
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
    fields,
    map_of,
    or_else,
    whole_list_of,
)

_KEYS = whole_list_of(KEY_TO_PATH)
_CREDENTIALS = {"secretRef": LOCAL_REFERENCE}
_FILE_SYSTEM = {"fsType": STRING, "readOnly": BOOLEAN}

# -- from objects of the cluster --

_CONFIG_MAP_FIELDS = {"name": NAME_OR_EMPTY, "items": _KEYS, "optional": BOOLEAN}
_POD_FILE = an_object({"path": STRING, "fieldRef": POD_FIELD, "resourceFieldRef": CONTAINER_RESOURCE, "mode": INT32}, ("path",))
_POD_FILES = {"items": whole_list_of(_POD_FILE)}

_TRUST_BUNDLE = an_object(
    {**fields("name", "signerName", "path", of=STRING), "labelSelector": LABEL_SELECTOR, "optional": BOOLEAN}, ("path",)
)
_POD_CERTIFICATE = an_object(
    {
        **fields("signerName", "keyType", "keyPath", "certificateChainPath", "credentialBundlePath", of=STRING),
        "maxExpirationSeconds": INT32,
    },
    ("keyType", "signerName"),
)
_TOKEN = an_object({"path": STRING, "audience": STRING, "expirationSeconds": INT64}, ("path",))
_PROJECTION = an_object(
    {
        **fields("configMap", "secret", of=an_object(_CONFIG_MAP_FIELDS)),
        "downwardAPI": an_object(_POD_FILES),
        "serviceAccountToken": _TOKEN,
        "clusterTrustBundle": _TRUST_BUNDLE,
        "podCertificate": _POD_CERTIFICATE,
    }
)

# -- claims --

_CLAIM_SPEC = an_object(
    {
        "accessModes": STRINGS,
        "resources": an_object(fields("requests", "limits", of=map_of(QUANTITY))),
        "selector": LABEL_SELECTOR,
        "dataSource": TYPED_LOCAL_REFERENCE,
        "dataSourceRef": TYPED_REFERENCE,
        **fields("storageClassName", "volumeAttributesClassName", "volumeMode", "volumeName", of=STRING),
    }
)
_CLAIM_TEMPLATE = an_object({"metadata": {"type": "object"}, "spec": _CLAIM_SPEC}, ("spec",))

_FROM_OBJECTS: dict[str, Schema] = {
    "configMap": an_object({**_CONFIG_MAP_FIELDS, "defaultMode": INT32}),
    "secret": an_object({"secretName": STRING, "items": _KEYS, "optional": BOOLEAN, "defaultMode": INT32}),
    "downwardAPI": an_object({**_POD_FILES, "defaultMode": INT32}),
    "projected": an_object({"sources": whole_list_of(_PROJECTION), "defaultMode": INT32}),
    "persistentVolumeClaim": an_object({"claimName": STRING, "readOnly": BOOLEAN}, ("claimName",)),
    "ephemeral": an_object({"volumeClaimTemplate": _CLAIM_TEMPLATE}),
}

_ON_THE_MACHINE: dict[str, Schema] = {
    "emptyDir": an_object({"medium": STRING, "sizeLimit": QUANTITY}),
    "hostPath": an_object({"path": STRING, "type": STRING}, ("path",)),
    "image": an_object(fields("reference", "pullPolicy", of=STRING)),
    "gitRepo": an_object(fields("repository", "revision", "directory", of=STRING), ("repository",)),
}

# -- disks and shares of clouds and storage systems --

_CLOUD_DISKS: dict[str, Schema] = {
    "awsElasticBlockStore": an_object({**_FILE_SYSTEM, "volumeID": STRING, "partition": INT32}, ("volumeID",)),
    "azureDisk": an_object(
        {
            **fields("diskName", "diskURI", "cachingMode", "kind", of=STRING),
            "fsType": or_else(STRING, "ext4"),
            "readOnly": or_else(BOOLEAN, False),
        },
        ("diskName", "diskURI"),
    ),
    "azureFile": an_object({**fields("secretName", "shareName", of=STRING), "readOnly": BOOLEAN}, ("secretName", "shareName")),
    "cinder": an_object({**_FILE_SYSTEM, **_CREDENTIALS, "volumeID": STRING}, ("volumeID",)),
    "gcePersistentDisk": an_object({**_FILE_SYSTEM, "pdName": STRING, "partition": INT32}, ("pdName",)),
    "photonPersistentDisk": an_object(fields("pdID", "fsType", of=STRING), ("pdID",)),
    "vsphereVolume": an_object(fields("volumePath", "fsType", "storagePolicyID", "storagePolicyName", of=STRING), ("volumePath",)),
}

_STORAGE_SYSTEMS: dict[str, Schema] = {
    "cephfs": an_object(
        {"monitors": STRINGS, **fields("path", "user", "secretFile", of=STRING), **_CREDENTIALS, "readOnly": BOOLEAN}, ("monitors",)
    ),
    "csi": an_object(
        {**_FILE_SYSTEM, "driver": STRING, "volumeAttributes": STRING_MAP, "nodePublishSecretRef": LOCAL_REFERENCE}, ("driver",)
    ),
    "fc": an_object({**_FILE_SYSTEM, "lun": INT32, **fields("targetWWNs", "wwids", of=STRINGS)}),
    "flexVolume": an_object({**_FILE_SYSTEM, **_CREDENTIALS, "driver": STRING, "options": STRING_MAP}, ("driver",)),
    "flocker": an_object(fields("datasetName", "datasetUUID", of=STRING)),
    "glusterfs": an_object({**fields("endpoints", "path", of=STRING), "readOnly": BOOLEAN}, ("endpoints", "path")),
    "iscsi": an_object(
        {
            **_FILE_SYSTEM,
            **_CREDENTIALS,
            **fields("targetPortal", "iqn", "initiatorName", of=STRING),
            "lun": INT32,
            "iscsiInterface": or_else(STRING, "default"),
            "portals": STRINGS,
            **fields("chapAuthDiscovery", "chapAuthSession", of=BOOLEAN),
        },
        ("iqn", "lun", "targetPortal"),
    ),
    "nfs": an_object({**fields("server", "path", of=STRING), "readOnly": BOOLEAN}, ("path", "server")),
    "portworxVolume": an_object({**_FILE_SYSTEM, "volumeID": STRING}, ("volumeID",)),
    "quobyte": an_object(
        {**fields("registry", "volume", "tenant", "user", "group", of=STRING), "readOnly": BOOLEAN}, ("registry", "volume")
    ),
    "rbd": an_object(
        {
            **_FILE_SYSTEM,
            **_CREDENTIALS,
            "monitors": STRINGS,
            "image": STRING,
            "pool": or_else(STRING, "rbd"),
            "user": or_else(STRING, "admin"),
            "keyring": or_else(STRING, "/etc/ceph/keyring"),
        },
        ("image", "monitors"),
    ),
    "scaleIO": an_object(
        {
            **_FILE_SYSTEM,
            **_CREDENTIALS,
            **fields("gateway", "system", "protectionDomain", "storagePool", "volumeName", of=STRING),
            "fsType": or_else(STRING, "xfs"),
            "storageMode": or_else(STRING, "ThinProvisioned"),
            "sslEnabled": BOOLEAN,
        },
        ("gateway", "secretRef", "system"),
    ),
    "storageos": an_object({**_FILE_SYSTEM, **_CREDENTIALS, **fields("volumeName", "volumeNamespace", of=STRING)}),
}

VOLUME = an_object({"name": STRING, **_FROM_OBJECTS, **_ON_THE_MACHINE, **_CLOUD_DISKS, **_STORAGE_SYSTEMS}, ("name",))
