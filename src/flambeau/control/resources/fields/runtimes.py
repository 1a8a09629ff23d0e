"""ServingRuntime's fields. Pure."""

from __future__ import annotations

from flambeau.control.resources.fields.containers import CONTAINER, ENVIRONMENT_VARIABLE
from flambeau.control.resources.fields.pods import RUNTIME_POD_FIELDS
from flambeau.control.resources.fields.words import (
    BOOLEAN,
    INT32,
    INTEGER,
    STRING,
    STRING_MAP,
    Schema,
    an_object,
    explained,
    fields,
    list_of,
)

_FORMAT = an_object(
    {
        "name": explained(STRING, "The format's name, as models say it."),
        "version": explained(STRING, "Which of its versions; any if nothing is said."),
        "autoSelect": explained(BOOLEAN, "Whether models that name no runtime may get this one."),
        "priority": explained({**INT32, "minimum": 1}, "Among several that may be chosen the highest is."),
    },
    ("name",),
)

_ADAPTER = an_object(
    {
        "serverType": STRING,
        **fields("runtimeManagementPort", "memBufferBytes", "modelLoadingTimeoutMillis", of=INTEGER),
        "env": list_of(ENVIRONMENT_VARIABLE),
    }
)

_POD_FIELDS: dict[str, Schema] = {
    "containers": explained(list_of(CONTAINER), "The pod's containers; the one named kserve-container serves the model."),
    "labels": explained(STRING_MAP, "Labels of its pods."),
    "annotations": explained(STRING_MAP, "Annotations of its pods."),
    **RUNTIME_POD_FIELDS,
}

_WORKER = an_object({**_POD_FIELDS, **fields("pipelineParallelSize", "tensorParallelSize", of=INTEGER)}, ("containers",))

SERVING_RUNTIME_SPEC = explained(
    an_object(
        {
            "supportedModelFormats": explained(
                list_of(_FORMAT), "Formats this runtime can serve; with autoSelect it is chosen for them by itself, by priority."
            ),
            "protocolVersions": explained(list_of(STRING), "v1, v2, grpc-v1, grpc-v2; none listed: all."),
            "disabled": explained(BOOLEAN, "Leave this runtime out of the choice."),
            "workerSpec": explained(_WORKER, "More pods for models that are too big for one."),
            "multiModel": explained(BOOLEAN, "One server for many models (ModelMesh); such a runtime is never chosen here."),
            **fields("grpcEndpoint", "grpcDataEndpoint", "httpDataEndpoint", of=explained(STRING, "An address of ModelMesh.")),
            "builtInAdapter": explained(_ADAPTER, "How ModelMesh talks to the server."),
            "storageHelper": explained(an_object({"disabled": BOOLEAN}), "Whether ModelMesh fetches models."),
            "replicas": explained(INTEGER, "The number of ModelMesh's pods."),
            **_POD_FIELDS,
        },
        ("containers",),
    ),
    "How models of some formats are served.",
)
