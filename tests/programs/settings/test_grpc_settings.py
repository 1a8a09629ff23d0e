from __future__ import annotations

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.settings.grpc import GrpcDoor, grpc_settings
from flambeau.programs.settings.properties import parse_properties
from flambeau.programs.settings.sources import Values, effective_values


def values(text: str) -> Values:
    return effective_values(flags={}, environment={}, file=parse_properties(text, {}, file="f"), file_name="f")


def test_by_default_both_planes_listen_on_loopback_and_leave_taken_ports() -> None:
    settings = grpc_settings(values(""), None, set())
    assert settings.inference == GrpcDoor("127.0.0.1", 7070, is_asked_for=False)
    assert settings.management == GrpcDoor("127.0.0.1", 7071, is_asked_for=False)
    assert not settings.tls


def test_what_the_file_says() -> None:
    text = "grpc_inference_address=0.0.0.0\ngrpc_inference_port=9\ngrpc_inference_max_connection_age_ms=5\n"
    text += "grpc_inference_max_connection_age_grace_ms=6\ngrpc_management_port=\nenable_grpc_ssl=true"
    settings = grpc_settings(values(text), None, set())
    assert settings.inference == GrpcDoor("0.0.0.0", 9, connection_age_ms=5, connection_age_grace_ms=6)
    assert (settings.management, settings.tls) == (None, True)


def test_in_a_pod_kserves_port_is_opened_unless_http_has_it() -> None:
    inference = grpc_settings(values("grpc_inference_port=7070"), "127.1.2.3", {("127.1.2.3", 8085)}).inference
    assert inference == GrpcDoor("127.1.2.3", 7070, extra_ports=(8081,))
    for text, taken in (("", {("127.1.2.3", 8081)}), ("grpc_inference_port=8081", set[tuple[str, int]]())):
        inference = grpc_settings(values(text), "127.1.2.3", taken).inference
        assert inference is not None
        assert inference.extra_ports == ()


@pytest.mark.parametrize("text", ["grpc_inference_port=x", "grpc_management_port=-1", "grpc_inference_max_connection_age_ms=0"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=text.partition("=")[0]):
        grpc_settings(values(text), None, set())
