from __future__ import annotations

import pytest

from flambeau.foundation.errors import InvalidInput, NotAllowed, NotFound
from flambeau.serving.frontends.routes import Page, Plane, Route, route_of
from flambeau.serving.model import Method, Protocol

V1, V2, EXPLAIN = Protocol.V1, Protocol.V2, Method.EXPLAIN


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (b"/", Route(Page.ROOT)),
        (b"/ping", Route(Page.PING)),
        (b"/ping/", Route(Page.PING)),
        (b"/metrics", Route(Page.METRICS)),
        (b"/metrics/x", Route(Page.METRICS)),
        (b"/execution-parameters", Route(Page.EXECUTION_PARAMETERS)),
        (b"/predictions/m", Route(Page.INFER, "m")),
        (b"/predictions/m/1.0", Route(Page.INFER, "m", "1.0")),
        (b"/predictions/m/1.0/x/y", Route(Page.INFER, "m", "1.0", url_path="x/y")),
        (b"/predictions/a%2Fb%20c", Route(Page.INFER, "a/b c")),
        (b"/explanations/m", Route(Page.INFER, "m", method=EXPLAIN)),
        (b"/explanations/m/2/z", Route(Page.INFER, "m", "2", method=EXPLAIN, url_path="z")),
        (b"/models", Route(Page.MODELS)),
        (b"/models/m", Route(Page.MODEL, "m")),
        (b"/models/m/1.0", Route(Page.MODEL, "m", "1.0")),
        (b"/models/m/all", Route(Page.MODEL_ALL_VERSIONS, "m")),
        (b"/v1/models", Route(Page.V1_MODELS, protocol=V1)),
        (b"/v1/models/m", Route(Page.V1_MODEL, "m", protocol=V1)),
        (b"/v1/models/m:predict", Route(Page.INFER, "m", protocol=V1)),
        (b"/v1/models/m%3Apredict", Route(Page.INFER, "m", protocol=V1)),
        (b"/v1/models/a:b:explain", Route(Page.INFER, "a:b", protocol=V1, method=EXPLAIN)),
        (b"/v1/models/m:other", Route(Page.V1_MODEL, "m:other", protocol=V1)),
        (b"/v2", Route(Page.SERVER_METADATA, protocol=V2)),
        (b"/v2/health/live", Route(Page.LIVE, protocol=V2)),
        (b"/v2/health/ready", Route(Page.READY, protocol=V2)),
        (b"/v2/models", Route(Page.V2_MODELS, protocol=V2)),
        (b"/v2/models/m", Route(Page.V2_MODEL, "m", protocol=V2)),
        (b"/v2/models/m/ready", Route(Page.V2_MODEL_READY, "m", protocol=V2)),
        (b"/v2/models/m/infer", Route(Page.INFER, "m", protocol=V2)),
        (b"/v2/models/m/explain", Route(Page.INFER, "m", protocol=V2, method=EXPLAIN)),
        (b"/openai/v1/models", Route(Page.OPENAI_MODELS, protocol=Protocol.OPENAI)),
        (b"/openai/v1/models/m", Route(Page.OPENAI_MODEL, "m", protocol=Protocol.OPENAI)),
        (b"/openai/v1/chat/completions", Route(Page.INFER, protocol=Protocol.OPENAI, url_path="openai/v1/chat/completions")),
        (b"/v1/chat/completions", Route(Page.INFER, protocol=Protocol.OPENAI, url_path="openai/v1/chat/completions")),
        (b"/v1/embeddings", Route(Page.INFER, protocol=Protocol.OPENAI, url_path="openai/v1/embeddings")),
        (b"/v2/models/m/versions/3", Route(Page.V2_MODEL, "m", "3", V2)),
        (b"/v2/models/m/versions/3/ready", Route(Page.V2_MODEL_READY, "m", "3", V2)),
        (b"/v2/models/m/versions/3/infer", Route(Page.INFER, "m", "3", V2)),
    ],
)
def test_paths(path: bytes, route: Route) -> None:
    assert route_of(path) == route


@pytest.mark.parametrize(
    "path",
    [b"/nope", b"/predictions", b"/v1", b"/v1/models/m/x", b"/v2/health", b"/v2/models/m/nope", b"/models/m/1/x", b"/v3", b"/ping/x"],
)
def test_paths_that_lead_nowhere(path: bytes) -> None:
    with pytest.raises(NotFound):
        route_of(path)


@pytest.mark.parametrize("prefix", ["/llm", "/a/b", ""])
def test_openais_paths_are_below_the_prefix_and_without_it(prefix: str) -> None:
    chat = Route(Page.INFER, protocol=Protocol.OPENAI, url_path="openai/v1/chat/completions")
    assert route_of(f"{prefix}/v1/chat/completions".encode(), prefix) == chat
    assert route_of(b"/v1/chat/completions", prefix) == chat
    assert route_of(b"/v1/models", prefix) == Route(Page.V1_MODELS, protocol=V1)
    with pytest.raises(NotFound):
        route_of(b"/openai/v1/chat/completions", prefix)


def test_a_path_that_is_not_text() -> None:
    with pytest.raises(InvalidInput, match="UTF-8"):
        route_of(b"/predictions/%FF")


@pytest.mark.parametrize(
    ("path", "planes"),
    [
        (b"/predictions/m", {Plane.INFERENCE}),
        (b"/models/m", {Plane.MANAGEMENT}),
        (b"/models", {Plane.MANAGEMENT}),
        (b"/v1/models/m", {Plane.INFERENCE, Plane.MANAGEMENT}),
        (b"/metrics", {Plane.METRICS}),
        (b"/ping", {Plane.INFERENCE}),
    ],
)
def test_each_door_has_its_own_pages(path: bytes, planes: set[Plane]) -> None:
    assert {plane for plane in Plane if route_of(path).is_on(frozenset({plane}))} == planes


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        (b"/predictions/m", "GET HEAD POST PUT DELETE"),
        (b"/ping", "GET HEAD POST PUT DELETE"),
        (b"/v1/models/m:predict", "POST"),
        (b"/v2/models/m/infer", "POST"),
        (b"/v2/health/live", "GET HEAD"),
        (b"/models", "GET HEAD POST"),
        (b"/models/m", "GET HEAD PUT DELETE"),
    ],
)
def test_each_page_has_its_methods(path: bytes, methods: str) -> None:
    known = set()
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        try:
            route_of(path).check_method(method)
            known.add(method)
        except NotAllowed:
            pass
    assert known == set(methods.split())
