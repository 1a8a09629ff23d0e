"""InferenceService's parts: predictor, transformer, explainer, model, logger, batcher. Pure."""

from __future__ import annotations

from flambeau.control.resources.fields.containers import PROBE, SERVER_PORT_PROBE, container_fields
from flambeau.control.resources.fields.pods import POD_FIELDS, SERVING_POD_FIELDS
from flambeau.control.resources.fields.scaling import SCALING_FIELDS
from flambeau.control.resources.fields.words import (
    BOOLEAN,
    INT32,
    INT64,
    INTEGER,
    STRING,
    STRING_MAP,
    Schema,
    an_object,
    explained,
    fields,
    list_of,
    one_of,
    or_else,
    whole_list_of,
)

# -- the model --

FRAMEWORKS = ("sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml", "lightgbm", "paddle")
"""Fields of a predictor that name a model's format by themselves: the old way to write ``model``."""

_STORAGE = an_object(
    {
        "path": explained(STRING, "The model's place in the storage."),
        "key": explained(STRING, "Which entry of the storage secret has the credentials."),
        "parameters": explained(STRING_MAP, "What replaces or adds to that entry: bucket, endpoint and the like."),
        "schemaPath": explained(STRING, "Where the model's schema is, in the storage."),
    }
)
_SOURCE_FIELDS: dict[str, Schema] = {
    "storageUri": explained(STRING, "Where the model is: s3://BUCKET/PREFIX, file:///PATH or an absolute path."),
    "storage": explained(_STORAGE, "Where the model is, with credentials from a storage secret."),
    "runtimeVersion": explained(STRING, "The tag of the runtime's image; the runtime's own if nothing is said."),
}
_CONFIDENTIAL = an_object(
    {
        "enabled": explained(BOOLEAN, "Whether the model is encrypted."),
        "resourceId": explained(STRING, "Where its key is: kbs:///..."),
    },
    ("enabled",),
)
_FORMAT = an_object(
    {
        "name": explained(STRING, "pytorch, sklearn, onnx, ...: what a runtime lists."),
        "version": explained(STRING, "Its version; any runtime of the format if nothing is said."),
    },
    ("name",),
)
_FORMAT_FIELDS: dict[str, Schema] = {
    "modelFormat": explained(_FORMAT, "The framework, as runtimes list it: pytorch."),
    "runtime": explained(STRING, "The runtime to use; chosen by format if nothing is said."),
}


def _framework_fields(probe: Schema) -> dict[str, Schema]:
    protocol = explained(STRING, "v1, v2, grpc-v1 or grpc-v2; the runtime's own if nothing is said.")
    return {
        **_SOURCE_FIELDS,
        "protocolVersion": protocol,
        "confidential": explained(_CONFIDENTIAL, "A model that is decrypted in the pod."),
        **container_fields(probe),
    }


_FRAMEWORK = an_object(_framework_fields(SERVER_PORT_PROBE))
_MODEL = an_object({**_FORMAT_FIELDS, **_framework_fields(SERVER_PORT_PROBE)})
_CANARY_FRAMEWORK = an_object(_framework_fields(PROBE), ("name",))
_CANARY_MODEL = an_object({**_FORMAT_FIELDS, **_framework_fields(PROBE)}, ("modelFormat", "name"))

# -- what components have in common --

_LOG_STORE = an_object(
    {
        "path": explained(STRING, "A folder below the one of the component."),
        "key": explained(STRING, "Which entry of the storage secret has the credentials."),
        "serviceAccountName": explained(STRING, "Whose secrets are used; logger-sa if nothing is said."),
        "parameters": explained(STRING_MAP, "format: how the files are written, json or csv."),
    }
)
_LOGGER = an_object(
    {
        "url": explained(STRING, "Where the copies go: a collector, or a bucket to keep them in."),
        "mode": explained(one_of("all", "request", "response"), "Which are copied; all if nothing is said."),
        "metadataHeaders": explained(list_of(STRING), "Headers of requests to send along."),
        "metadataAnnotations": explained(list_of(STRING), "Annotations of the InferenceService to send along."),
        "storage": explained(_LOG_STORE, "How copies are kept in a bucket."),
        "batchSize": explained(INTEGER, "Copies per file; 1 if nothing is said."),
        "batchInterval": explained(STRING, "The longest wait for a file to fill."),
        "marshallerUrl": explained(STRING, "Who turns copies into files."),
    }
)
_BATCHER = an_object(
    {
        "maxBatchSize": explained(INTEGER, "Instances per call of the model at most."),
        "maxLatency": explained(INTEGER, "Milliseconds to wait for a batch to fill."),
        "timeout": explained(INTEGER, "Seconds until a batch must be answered."),
    }
)
_STORAGE_URI = an_object(
    {
        "uri": explained({**STRING, "minLength": 1}, "Where it is, as storageUri says it."),
        "mountPath": explained(or_else({**STRING, "pattern": "^/", "maxLength": 255}, "/mnt/models"), "Where the containers find it."),
    },
    ("uri",),
)

COMPONENT_FIELDS: dict[str, Schema] = {
    **SCALING_FIELDS,
    "canaryTrafficPercent": explained(INT64, "Share of the traffic for the newest revision; the rest stays with the last one rolled out."),
    "containerConcurrency": explained(INT64, "Requests in flight per pod at most; 0 is no limit."),
    "timeout": explained(INT64, "Seconds until a response must have begun; at most 600, 300 if nothing is said."),
    "logger": explained(_LOGGER, "Send copies of requests and responses to somebody who collects them."),
    "batcher": explained(_BATCHER, "Gather the instances of several requests into one call of the model."),
    "labels": explained(STRING_MAP, "Labels of this component's pods."),
    "annotations": explained(STRING_MAP, "Annotations of this component's pods."),
    "storageUris": explained({**whole_list_of(_STORAGE_URI), "minItems": 1}, "Several places to fetch from, each with where it goes."),
}

# -- the components --

_WORKER = an_object({**POD_FIELDS, **fields("pipelineParallelSize", "tensorParallelSize", of=INTEGER)})
_PREDICTOR_FIELDS: dict[str, Schema] = {
    "name": explained({**STRING, "pattern": "^[a-z](-*[a-z0-9])*$"}, "A variant's name: its objects and hosts are SERVICE-NAME-predictor."),
    "storageContainerName": explained(STRING, "The ClusterStorageContainer that fetches the model; chosen by the URI if nothing is said."),
    "workerSpec": explained(_WORKER, "More pods for a model that is too big for one."),
}


def _frameworks(of: Schema) -> dict[str, Schema]:
    return {name: explained(of, f"A model of format {name}; model says the same with modelFormat.") for name in FRAMEWORKS}


PREDICTOR = an_object(
    {
        "model": explained(_MODEL, "The model; a runtime that supports its format serves it."),
        **_frameworks(_FRAMEWORK),
        **_PREDICTOR_FIELDS,
        **COMPONENT_FIELDS,
        **SERVING_POD_FIELDS,
    }
)
_CANARY_PREDICTOR = an_object(
    {
        "model": explained(_CANARY_MODEL, "The model; a runtime that supports its format serves it."),
        **_frameworks(_CANARY_FRAMEWORK),
        **_PREDICTOR_FIELDS,
        **COMPONENT_FIELDS,
        **POD_FIELDS,
    }
)
TRANSFORMER = an_object({**COMPONENT_FIELDS, **SERVING_POD_FIELDS})

_ART_FIELDS = {
    "type": explained(STRING, "Which explainer, as SquareAttack."),
    "config": explained(STRING_MAP, "Its settings, which it gets as flags."),
}
_ART = an_object({**_ART_FIELDS, **_SOURCE_FIELDS, **container_fields(SERVER_PORT_PROBE)})
EXPLAINER = an_object(
    {"art": explained(_ART, "The Adversarial Robustness Toolbox's explainers."), **COMPONENT_FIELDS, **SERVING_POD_FIELDS}
)

_CANARY = an_object(
    {
        "predictor": explained(_CANARY_PREDICTOR, "What serves this part of the traffic."),
        "trafficPercent": explained({**INT32, "minimum": 0, "maximum": 100}, "Its share."),
    },
    ("predictor", "trafficPercent"),
)

INFERENCE_SERVICE_SPEC = explained(
    an_object(
        {
            "predictor": explained(PREDICTOR, "What serves the model: a model with its format and place, or containers of your own."),
            "transformer": explained(TRANSFORMER, "Pre- and post-processing in front of the predictor."),
            "explainer": explained(EXPLAINER, "What answers :explain."),
            "canary": explained(whole_list_of(_CANARY), "Other predictors, each with a share of the traffic."),
        },
        ("predictor",),
    ),
    "A model to serve, and how.",
)
