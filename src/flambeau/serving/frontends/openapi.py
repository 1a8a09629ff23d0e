"""The description that ``/api-description`` and OPTIONS give: OpenAPI 3.0.1, made from one table. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import flambeau
from flambeau.serving.frontends.routes import OPENAI_PREFIX, Plane

_INFERENCE = frozenset({Plane.INFERENCE})
_MANAGEMENT = frozenset({Plane.MANAGEMENT})
_METRICS = frozenset({Plane.METRICS})
_ALL = frozenset(Plane)
_OPENAI_PATH = re.compile(f"^{OPENAI_PREFIX}/v1/")
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")

_STATUS = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
_ERROR = {
    "type": "object",
    "required": ["code", "type", "message"],
    "properties": {"code": {"type": "integer"}, "type": {"type": "string"}, "message": {"type": "string"}},
}
_ANY: dict[str, Any] = {}
_OBJECT = {"type": "object"}
_LIST = {"type": "array", "items": {"type": "object"}}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    planes: frozenset[Plane]
    path: str
    method: str
    name: str
    """``operationId``: client generators name functions after it."""
    summary: str
    query: tuple[tuple[str, str, str], ...] = ()
    """Name, type and meaning of each parameter."""
    statuses: tuple[int, ...] = (200,)
    answer: dict[str, Any] | None = None
    takes_body: bool = False


_WORKERS = (
    ("min_worker", "integer", "Fewest workers; 1 where it is not given."),
    ("max_worker", "integer", "Most workers; as min_worker where it is not given."),
    ("synchronous", "boolean", "Answer when the workers have loaded. Off where it is not given."),
)
_REGISTER = (
    ("url", "string", "Archive or folder in the model store, or an address that allowed_urls allows. Required."),
    ("model_name", "string", "In place of the manifest's."),
    ("handler", "string", "In place of the manifest's."),
    ("runtime", "string", "python or python3."),
    ("batch_size", "integer", "Most requests that go to the handler together."),
    ("max_batch_delay", "integer", "Milliseconds that a request may wait for company."),
    ("initial_workers", "integer", "Workers to start; default_workers_per_model where it is not given."),
    ("synchronous", "boolean", "Answer when the workers have loaded. On where it is not given."),
    ("response_timeout", "integer", "Seconds for one batch."),
    ("startup_timeout", "integer", "Seconds for one load."),
    ("s3_sse_kms", "boolean", "Sign the download with AWS's credentials."),
)
_REGISTER_WORKFLOW = (
    ("url", "string", "Workflow archive in the workflow store, or an address that allowed_urls allows. Required."),
    ("workflow_name", "string", "In place of the manifest's."),
    ("response_timeout", "integer", "Seconds for one batch of a node."),
    ("startup_timeout", "integer", "Seconds for one load of a node's model."),
    ("s3_sse_kms", "boolean", "Sign the download with AWS's credentials."),
)
_VERSION_QUERY = (("model_version", "string", "The default version where it is not given."),)
_PAGE = (
    ("limit", "integer", "Models per page, up to 100."),
    ("next_page_token", "integer", "The nextPageToken of the page before."),
)
_OPENAI = (
    ("completions", "completionsOpenAI", "Continue a text; in parts with `stream: true`."),
    ("chat/completions", "chatOpenAI", "Continue a conversation; in parts with `stream: true`."),
    ("embeddings", "embeddingsOpenAI", "Turn texts into vectors."),
)
_CUSTOMIZED = (("customized", "boolean", "Ask the handler for its own description too."),)
_FAILURES = (400, 404, 500, 503)

OPERATIONS = (
    Operation(_ALL, "/", "options", "apiDescription", "Describe this API."),
    Operation(_ALL, "/api-description", "get", "api-description", "Describe this API."),
    Operation(_INFERENCE, "/ping", "get", "ping", "Tell whether every model can answer.", statuses=(200, 500), answer=_STATUS),
    Operation(
        _INFERENCE,
        "/v1/models/{model_name}:predict",
        "post",
        "predictV1",
        "Predict, KServe V1.",
        statuses=(200, *_FAILURES),
        takes_body=True,
    ),
    Operation(
        _INFERENCE,
        "/v1/models/{model_name}:explain",
        "post",
        "explainV1",
        "Explain, KServe V1.",
        statuses=(200, *_FAILURES),
        takes_body=True,
    ),
    Operation(
        _INFERENCE,
        "/v2/models/{model_name}/infer",
        "post",
        "inferV2",
        "Predict, Open Inference Protocol.",
        statuses=(200, *_FAILURES),
        takes_body=True,
    ),
    *(
        Operation(_INFERENCE, f"{OPENAI_PREFIX}/v1/{path}", "post", name, summary, statuses=(200, *_FAILURES), takes_body=True)
        for path, name, summary in _OPENAI
    ),
    Operation(
        _INFERENCE, f"{OPENAI_PREFIX}/v1/models", "get", "listModelsOpenAI", "List the models, as OpenAI's clients ask.", answer=_OBJECT
    ),
    Operation(
        _INFERENCE | _MANAGEMENT, "/v2/repository/index", "post", "repositoryIndex", "List the models with their states.", answer=_LIST
    ),
    *(
        Operation(
            _MANAGEMENT,
            f"/v2/repository/models/{{model_name}}/{verb}",
            "post",
            f"repositoryModel{verb.capitalize()}",
            summary,
            statuses=(200, 400, 403, 404, 500),
            answer=_OBJECT,
        )
        for verb, summary in (("load", "Load a model of the model store by its name."), ("unload", "Unload all versions of a model."))
    ),
    Operation(_INFERENCE, "/v2/health/ready", "get", "readyV2", "Tell whether every model of the start can answer.", statuses=(200, 503)),
    Operation(
        _INFERENCE,
        "/predictions/{model_name}",
        "post",
        "predictions",
        "Predict with the default version.",
        statuses=(200, *_FAILURES),
        takes_body=True,
    ),
    Operation(
        _INFERENCE,
        "/predictions/{model_name}/{model_version}",
        "post",
        "version_predictions",
        "Predict with one version.",
        statuses=(200, *_FAILURES),
        takes_body=True,
    ),
    Operation(
        _INFERENCE,
        "/explanations/{model_name}",
        "post",
        "explanations",
        "Explain with the default version.",
        statuses=(200, *_FAILURES),
        takes_body=True,
    ),
    Operation(
        _INFERENCE,
        "/invocations",
        "post",
        "invocations",
        "Predict as SageMaker asks.",
        query=(("model_name", "string", "Which model; needed where there are several."),),
        statuses=(200, *_FAILURES),
        takes_body=True,
    ),
    Operation(
        _INFERENCE, "/execution-parameters", "get", "executionParameters", "Tell SageMaker's batch transform how to ask.", answer=_OBJECT
    ),
    Operation(
        _INFERENCE,
        "/wfpredict/{workflow_name}",
        "post",
        "predictWorkflow",
        "Take a request through a workflow.",
        statuses=(200, *_FAILURES),
        takes_body=True,
    ),
    Operation(_MANAGEMENT, "/models", "get", "listModels", "List the models.", query=_PAGE, answer=_OBJECT),
    Operation(
        _MANAGEMENT,
        "/models",
        "post",
        "registerModel",
        "Register a model.",
        query=_REGISTER,
        statuses=(200, 202, 400, 404, 405, 409, 500),
        answer=_STATUS,
    ),
    Operation(
        _MANAGEMENT,
        "/models/{model_name}",
        "get",
        "describeModel",
        "Describe the default version.",
        query=_CUSTOMIZED,
        statuses=(200, 404, 503),
        answer=_LIST,
    ),
    Operation(
        _MANAGEMENT,
        "/models/{model_name}/{model_version}",
        "get",
        "version_describeModel",
        "Describe one version; ALL of them with the version `all`.",
        query=_CUSTOMIZED,
        statuses=(200, 404, 503),
        answer=_LIST,
    ),
    Operation(
        _MANAGEMENT,
        "/models/{model_name}",
        "put",
        "setAutoScale",
        "Set the bounds of the workers.",
        query=(*_WORKERS, *_VERSION_QUERY),
        statuses=(200, 202, 400, 404, 500),
        answer=_STATUS,
    ),
    Operation(
        _MANAGEMENT,
        "/models/{model_name}/{model_version}",
        "put",
        "version_setAutoScale",
        "Set the bounds of one version's workers.",
        query=_WORKERS,
        statuses=(200, 202, 400, 404, 500),
        answer=_STATUS,
    ),
    Operation(
        _MANAGEMENT,
        "/models/{model_name}",
        "delete",
        "unregisterModel",
        "Unregister the default version.",
        statuses=(200, 403, 404, 405),
        answer=_STATUS,
    ),
    Operation(
        _MANAGEMENT,
        "/models/{model_name}/{model_version}",
        "delete",
        "version_unregisterModel",
        "Unregister one version.",
        statuses=(200, 403, 404, 405),
        answer=_STATUS,
    ),
    Operation(
        _MANAGEMENT,
        "/models/{model_name}/{model_version}/set-default",
        "put",
        "setDefault",
        "Make a version the default.",
        statuses=(200, 404),
        answer=_STATUS,
    ),
    Operation(_MANAGEMENT, "/workflows", "get", "listWorkflows", "List the workflows.", query=_PAGE, answer=_OBJECT),
    Operation(
        _MANAGEMENT,
        "/workflows",
        "post",
        "registerWorkflow",
        "Register a workflow and start its models.",
        query=_REGISTER_WORKFLOW,
        statuses=(200, 400, 404, 405, 409, 500),
        answer=_STATUS,
    ),
    Operation(
        _MANAGEMENT, "/workflows/{workflow_name}", "get", "describeWorkflow", "Describe a workflow.", statuses=(200, 404), answer=_LIST
    ),
    Operation(
        _MANAGEMENT,
        "/workflows/{workflow_name}",
        "delete",
        "unregisterWorkflow",
        "Unregister a workflow and its models.",
        statuses=(200, 404, 405),
        answer=_STATUS,
    ),
    Operation(
        _MANAGEMENT,
        "/token",
        "get",
        "token",
        "Make a new key; opened by the API key.",
        query=(("type", "string", "inference or management."),),
        statuses=(200, 400),
    ),
    Operation(
        _METRICS,
        "/metrics",
        "get",
        "metrics",
        "Read the metrics in Prometheus' text form.",
        query=(("name[]", "string", "Only the metrics of this name; may be repeated."),),
    ),
)
"""Everything that a door may have; paths are spelled as in TorchServe's description, for generated clients."""


def describe_doors(planes: frozenset[Plane], openai_prefix: str = OPENAI_PREFIX) -> dict[str, Any]:
    """Return the description of a door with these planes."""
    found = [operation for operation in OPERATIONS if operation.planes & planes]
    if openai_prefix != OPENAI_PREFIX:
        found = [replace(each, path=_OPENAI_PATH.sub(f"{openai_prefix}/v1/", each.path)) for each in found]
    return _document("TorchServe APIs", flambeau.__version__, found)


def describe_model(model: str) -> dict[str, Any]:
    """Return the description of one model's inference."""
    wanted = ("predictions", "predictV1", "inferV2", "explanations")
    found = [operation for operation in OPERATIONS if operation.name in wanted]
    document = _document(f"RESTful API for: {model}", "1.0.0", found)
    paths = {path.replace("{model_name}", model): methods for path, methods in document["paths"].items()}
    for methods in paths.values():
        for operation in methods.values():
            operation["parameters"] = [each for each in operation["parameters"] if each["in"] != "path"]
    return {**document, "paths": paths}


def describe_management(model: str) -> dict[str, Any]:
    """Return the description of one model's management."""
    found = [operation for operation in OPERATIONS if operation.path.startswith("/models/{model_name}")]
    return _document(f"RESTful Management API for: {model}", "1.0.0", found)


def _document(title: str, version: str, operations: list[Operation]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {"openapi": "3.0.1", "info": {"title": title, "version": version}, "paths": paths}


def _described(operation: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string"}} for name in _PATH_PARAMETER.findall(operation.path)
    ]
    parameters += [{"in": "query", "name": name, "description": text, "schema": {"type": kind}} for name, kind, text in operation.query]
    described: dict[str, Any] = {"summary": operation.summary, "operationId": operation.name, "parameters": parameters}
    if operation.takes_body:
        described["requestBody"] = {"required": True, "content": {"*/*": {"schema": _ANY}}}
    described["responses"] = {str(status): _response(status, operation.answer) for status in operation.statuses}
    return described


def _response(status: int, answer: dict[str, Any] | None) -> dict[str, Any]:
    if status >= 400:
        return {"description": "Refused or failed.", "content": {"application/json": {"schema": _ERROR}}}
    content = {"application/json": {"schema": answer}} if answer is not None else {"*/*": {"schema": _ANY}}
    return {"description": "Done." if status == 200 else "Goes on.", "content": content}
