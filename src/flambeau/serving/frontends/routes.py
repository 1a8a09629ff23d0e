"""Which page a path names. Pure: a raw path in, a frozen Route or NotFound out.

Segments are split before they are decoded, so ``%2F`` in a model's name stays in the name, and ``%3Apredict`` works as ``:predict``. A
trailing slash does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote_to_bytes

from flambeau.foundation.errors import InvalidInput, NotAllowed, NotFound
from flambeau.serving.model import Method, Protocol

OPENAI_PREFIX = "/openai"
"""What stands before OpenAI's paths where nobody says otherwise."""


class Plane(Enum):
    """What a door is for; a door may serve several."""

    INFERENCE = auto()
    MANAGEMENT = auto()
    METRICS = auto()


class Page(Enum):
    """What a route answers with."""

    INFER = auto()
    PING = auto()
    ROOT = auto()
    LIVE = auto()
    READY = auto()
    SERVER_METADATA = auto()
    V1_MODELS = auto()
    V1_MODEL = auto()
    V2_MODELS = auto()
    V2_MODEL = auto()
    V2_MODEL_READY = auto()
    REPOSITORY_INDEX = auto()
    REPOSITORY_LOAD = auto()
    REPOSITORY_UNLOAD = auto()
    OPENAI_MODELS = auto()
    OPENAI_MODEL = auto()
    MODELS = auto()
    MODEL = auto()
    MODEL_ALL_VERSIONS = auto()
    SET_DEFAULT = auto()
    WORKFLOWS = auto()
    WORKFLOW = auto()
    WORKFLOW_PREDICT = auto()
    EXECUTION_PARAMETERS = auto()
    TOKEN = auto()
    API_DESCRIPTION = auto()
    METRICS = auto()


_READ = frozenset({"GET", "HEAD"})
_BOTH = frozenset({Plane.INFERENCE, Plane.MANAGEMENT})
_INFERENCE = frozenset({Plane.INFERENCE})
_MANAGEMENT = frozenset({Plane.MANAGEMENT})
_ANY = frozenset(Plane)

_PAGES: dict[Page, tuple[frozenset[Plane], frozenset[str] | None]] = {
    Page.INFER: (_INFERENCE, None),
    Page.PING: (_INFERENCE, None),
    Page.ROOT: (_ANY, _READ | {"OPTIONS"}),
    Page.LIVE: (_BOTH, _READ),
    Page.READY: (_BOTH, _READ),
    Page.SERVER_METADATA: (_INFERENCE, _READ),
    Page.V1_MODELS: (_INFERENCE, _READ),
    Page.V1_MODEL: (_BOTH, _READ),
    Page.V2_MODELS: (_INFERENCE, _READ),
    Page.V2_MODEL: (_INFERENCE, _READ),
    Page.V2_MODEL_READY: (_INFERENCE, _READ),
    Page.REPOSITORY_INDEX: (_BOTH, frozenset({"POST"})),
    Page.REPOSITORY_LOAD: (_MANAGEMENT, frozenset({"POST"})),
    Page.REPOSITORY_UNLOAD: (_MANAGEMENT, frozenset({"POST"})),
    Page.OPENAI_MODELS: (_INFERENCE, _READ),
    Page.OPENAI_MODEL: (_INFERENCE, _READ),
    Page.MODELS: (_MANAGEMENT, _READ | {"POST"}),
    Page.MODEL: (_MANAGEMENT, _READ | {"PUT", "DELETE", "OPTIONS"}),
    Page.MODEL_ALL_VERSIONS: (_MANAGEMENT, _READ),
    Page.SET_DEFAULT: (_MANAGEMENT, frozenset({"PUT"})),
    Page.WORKFLOWS: (_MANAGEMENT, _READ | {"POST"}),
    Page.WORKFLOW: (_MANAGEMENT, _READ | {"DELETE"}),
    Page.WORKFLOW_PREDICT: (_INFERENCE, None),
    Page.EXECUTION_PARAMETERS: (_INFERENCE, _READ),
    Page.TOKEN: (_MANAGEMENT, None),
    Page.API_DESCRIPTION: (_ANY, None),
    Page.METRICS: (frozenset({Plane.METRICS}), None),
}
"""Page -> the planes that have it, and the methods it knows (None: any)."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for."""

    page: Page
    model: str = ""
    """A model's name, or a workflow's."""
    version: str | None = None
    """None: the default version."""
    protocol: Protocol = Protocol.TORCHSERVE
    """Decides the shape of errors too."""
    method: Method = Method.PREDICT
    url_path: str = ""
    """What follows the version in ``/predictions/m/1.0/a/b``; a handler reads it as a header."""
    query_is_input: bool = False
    """Query parameters are added to the handler's row, as TorchServe does on SageMaker's and the oldest routes."""

    def is_on(self, planes: frozenset[Plane]) -> bool:
        """Tell whether a door with these planes has this page."""
        return not _PAGES[self.page][0].isdisjoint(planes)

    def planes_on(self, planes: frozenset[Plane]) -> frozenset[Plane]:
        """Return the planes under which a door with these planes has this page: the keys of any of them open it."""
        return _PAGES[self.page][0] & planes

    def check_method(self, method: str) -> None:
        """Refuse a method that the page doesn't know.

        Raises:
            NotAllowed: the text names the methods there are.
        """
        allowed = _PAGES[self.page][1]
        if self.page is Page.INFER and self.protocol is not Protocol.TORCHSERVE:
            allowed = frozenset({"POST"})
        if allowed is not None and method not in allowed:
            raise NotAllowed(
                "Requested method is not allowed, please refer to API document.", hint=f"use {' or '.join(sorted(allowed - {'HEAD'}))}"
            )


def route_of(path: bytes, openai_prefix: str = OPENAI_PREFIX) -> Route:
    """Return what a raw path asks for.

    Args:
        path: without the query.
        openai_prefix: what stands before OpenAI's paths, which are found without it, too.

    Raises:
        NotFound: there is no such page.
        InvalidInput: a segment is not UTF-8.
    """
    try:
        segments = [unquote_to_bytes(segment).decode() for segment in path.strip(b"/").split(b"/")]
    except UnicodeDecodeError as error:
        raise InvalidInput("cannot read the path: it is not UTF-8") from error
    steps = openai_prefix.strip("/").split("/")
    is_openai = [*steps, "v1"] == segments[: len(steps) + 1]
    route = (_of_openai(segments[len(steps) + 1 :]) if is_openai else None) or _of_segments(segments)
    if route is None:
        raise nowhere()
    return route


def nowhere() -> NotFound:
    """Return the error of a path that leads nowhere; its first sentence is TorchServe's."""
    return NotFound(
        "Requested resource is not found, please refer to API document.",
        hint="predictions are at /v1/models/NAME:predict, /v2/models/NAME/infer and /predictions/NAME",
        reason="ResourceNotFound",
    )


def _of_segments(segments: list[str]) -> Route | None:
    match segments:
        case [""]:
            return Route(Page.ROOT)
        case ["ping"]:
            return Route(Page.PING)
        case ["metrics", *_]:
            return Route(Page.METRICS)
        case ["token"]:
            return Route(Page.TOKEN)
        case ["api-description"]:
            return Route(Page.API_DESCRIPTION)
        case ["invocations"]:
            return Route(Page.INFER, query_is_input=True)
        case ["execution-parameters"]:
            return Route(Page.EXECUTION_PARAMETERS)
        case ["predictions", model]:
            return Route(Page.INFER, model)
        case ["predictions", model, version, *rest]:
            return Route(Page.INFER, model, version, url_path="/".join(rest))
        case ["explanations", model]:
            return Route(Page.INFER, model, method=Method.EXPLAIN)
        case ["explanations", model, version, *rest]:
            return Route(Page.INFER, model, version, method=Method.EXPLAIN, url_path="/".join(rest))
        case ["models"]:
            return Route(Page.MODELS)
        case ["models", model]:
            return Route(Page.MODEL, model)
        case ["models", model, "all"]:
            return Route(Page.MODEL_ALL_VERSIONS, model)
        case ["models", model, "invoke"]:
            return Route(Page.INFER, model, query_is_input=True)
        case ["models", model, version]:
            return Route(Page.MODEL, model, version)
        case ["models", model, version, "set-default"]:
            return Route(Page.SET_DEFAULT, model, version)
        case ["workflows"]:
            return Route(Page.WORKFLOWS)
        case ["workflows", workflow]:
            return Route(Page.WORKFLOW, workflow)
        case ["wfpredict", workflow, *_]:
            return Route(Page.WORKFLOW_PREDICT, workflow)
        case ["v1", *rest]:
            return _of_v1(rest)
        case ["v2", *rest]:
            return _of_v2(rest)
        case [model, "predict"]:
            return Route(Page.INFER, model, query_is_input=True)
        case [model, version, "predict"]:
            return Route(Page.INFER, model, version, query_is_input=True)
    return None


def _of_v1(segments: list[str]) -> Route | None:
    match segments:
        case ["models"]:
            return Route(Page.V1_MODELS, protocol=Protocol.V1)
        case ["models", word]:
            model, colon, verb = word.rpartition(":")
            if colon and verb in ("predict", "explain"):
                method = Method.PREDICT if verb == "predict" else Method.EXPLAIN
                return Route(Page.INFER, model, protocol=Protocol.V1, method=method)
            return Route(Page.V1_MODEL, word, protocol=Protocol.V1)
    return _of_openai(segments)  # as vLLM's servers have them, without the prefix


def _of_openai(segments: list[str]) -> Route | None:
    match segments:
        case ["models"]:
            return Route(Page.OPENAI_MODELS, protocol=Protocol.OPENAI)
        case ["models", model]:
            return Route(Page.OPENAI_MODEL, model, protocol=Protocol.OPENAI)
        case ["completions"] | ["chat", "completions"] | ["embeddings"]:
            return Route(Page.INFER, protocol=Protocol.OPENAI, url_path="/".join(("openai", "v1", *segments)))
    return None


def _of_v2(segments: list[str]) -> Route | None:
    version: str | None = None
    match segments:
        case []:
            return Route(Page.SERVER_METADATA, protocol=Protocol.V2)
        case ["health", "live"]:
            return Route(Page.LIVE, protocol=Protocol.V2)
        case ["health", "ready"]:
            return Route(Page.READY, protocol=Protocol.V2)
        case ["models"]:
            return Route(Page.V2_MODELS, protocol=Protocol.V2)
        case ["repository", "index"]:
            return Route(Page.REPOSITORY_INDEX, protocol=Protocol.V2)
        case ["repository", "models", model, "load"]:
            return Route(Page.REPOSITORY_LOAD, model, protocol=Protocol.V2)
        case ["repository", "models", model, "unload"]:
            return Route(Page.REPOSITORY_UNLOAD, model, protocol=Protocol.V2)
        case ["models", model, "versions", version, *verb]:
            pass
        case ["models", model, *verb]:
            pass
        case _:
            return None
    match verb:
        case []:
            return Route(Page.V2_MODEL, model, version, Protocol.V2)
        case ["ready"]:
            return Route(Page.V2_MODEL_READY, model, version, Protocol.V2)
        case ["infer"]:
            return Route(Page.INFER, model, version, Protocol.V2)
        case ["explain"]:
            return Route(Page.INFER, model, version, Protocol.V2, Method.EXPLAIN)
    return None
