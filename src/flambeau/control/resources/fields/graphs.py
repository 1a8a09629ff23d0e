"""InferenceGraph's and TrainedModel's fields. Pure."""

from __future__ import annotations

from flambeau.control.resources.fields.containers import RESOURCES
from flambeau.control.resources.fields.placement import AFFINITY, TOLERATION
from flambeau.control.resources.fields.words import (
    BOOLEAN,
    INT32,
    INT64,
    QUANTITY,
    STRING,
    STRING_MAP,
    Schema,
    an_object,
    explained,
    list_of,
    map_of,
    one_of,
)

_STEP = an_object(
    {
        "name": explained(STRING, "The step's name, once in its node; an Ensemble's answer has this step's under it."),
        "nodeName": explained(STRING, "The node that takes the step."),
        "serviceName": explained(STRING, "The InferenceService of this namespace that takes the step."),
        "serviceUrl": explained(STRING, "The URL that takes the step: http://HOST/v1/models/NAME:predict."),
        "data": explained(STRING, "What it is asked with: $request, or $response for the answer of the step before."),
        "weight": explained(INT64, "A Splitter's share for this step, in percent; all of them make 100."),
        "condition": explained(STRING, "A gjson path: a Switch takes the first step whose path the request has."),
        "dependency": explained(one_of("Soft", "Hard"), "Hard: when this step fails, its node fails with its answer."),
        "mapPredictionsToInstances": explained(BOOLEAN, "Send the predictions of the step before as instances."),
    }
)
_NODE = an_object(
    {
        "routerType": explained(
            one_of("Sequence", "Splitter", "Ensemble", "Switch"), "One after the other, one by weight, all at once, or one by condition."
        ),
        "steps": explained(list_of(_STEP), "The steps, in order."),
    },
    ("routerType",),
)
_TIMEOUTS = an_object(
    {
        "serverRead": explained(INT64, "Seconds between two pieces of a request."),
        "serverWrite": explained(INT64, "Seconds from a request to the end of its answer."),
        "serverIdle": explained(INT64, "Seconds that a connection may be without a request."),
        "serviceClient": explained(INT64, "Seconds for one call of a service."),
    }
)

INFERENCE_GRAPH_SPEC: Schema = explained(
    an_object(
        {
            "nodes": explained(map_of(_NODE), "The nodes by name; requests come to the one named root."),
            "resources": explained(RESOURCES, "What the router's pod may take."),
            "affinity": AFFINITY,
            "timeout": explained(INT64, "Seconds for a request; at most 600, 300 if nothing is said."),
            "routerTimeouts": explained(_TIMEOUTS, "The router's own clocks."),
            "minReplicas": explained(INT32, "The fewest pods; 1 if nothing is said, 0 lets it scale to zero."),
            "maxReplicas": explained(INT32, "The most pods; 0 is no limit."),
            "scaleTarget": explained(INT32, "How much of scaleMetric one pod should carry."),
            "scaleMetric": explained(
                one_of("cpu", "memory", "concurrency", "rps"), "What scaling goes by; concurrency if nothing is said."
            ),
            "tolerations": list_of(TOLERATION),
            "nodeSelector": STRING_MAP,
            "nodeName": STRING,
            "serviceAccountName": STRING,
        },
        ("nodes",),
    ),
    "Models that answer together.",
)

_TRAINED_MODEL = an_object(
    {
        "storageUri": explained(STRING, "Where the model is."),
        "framework": explained(STRING, "Its format, as runtimes list it: pytorch."),
        "memory": explained(QUANTITY, "What it takes; can't be changed."),
    },
    ("storageUri", "framework", "memory"),
)

TRAINED_MODEL_SPEC: Schema = explained(
    an_object(
        {
            "inferenceService": explained(STRING, "The InferenceService whose server loads the model."),
            "model": explained(_TRAINED_MODEL, "The model."),
        },
        ("inferenceService", "model"),
    ),
    "One more model for a running InferenceService.",
)
