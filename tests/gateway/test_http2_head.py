"""Heads of HTTP/2 as HTTP/1.1 and gRPC replicas get them."""

from __future__ import annotations

import pytest

from flambeau.foundation.http1_head import Refusal
from flambeau.gateway.grpc_answers import counted_as, error_trailers
from flambeau.gateway.http2_head import call_headers, head_of

PSEUDO = {b":method": b"POST", b":scheme": b"http", b":path": b"/a?b=c", b":authority": b"M.example.com:8000"}


def headers(*more: tuple[bytes, bytes], **changed: bytes) -> list[tuple[bytes, bytes]]:
    return [*{**PSEUDO, **{f":{name}".encode(): value for name, value in changed.items()}}.items(), *more]


def test_a_head_reads_like_one_of_http1() -> None:
    crumbs = ((b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"host", b"elsewhere"))
    head = head_of(headers((b"x-a", b"1"), *crumbs), ended=False)
    assert (head.method, head.host, head.path, head.query) == ("POST", "m.example.com", b"/a", b"b=c")
    assert head.headers == [(b"host", b"M.example.com:8000"), (b"x-a", b"1"), (b"cookie", b"a=1; b=2")]
    assert (head.chunked, head.content_length) == (True, None)
    head = head_of(headers((b"content-length", b"5")), ended=False)
    assert (head.chunked, head.content_length) == (False, 5)
    assert not head_of(headers(), ended=True).chunked


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"method": b"CONNECT"}, 405),
        ({"method": b"GET / HTTP/1.1"}, 400),
        ({"path": b"/a HTTP/1.1"}, 400),
        ({"path": b"/a#b"}, 400),
        ({"path": b"http://m/"}, 400),
        ({"path": b"/" + b"a" * 9000}, 414),
        ({"authority": b"m@n"}, 400),
        ({"authority": b""}, 400),
    ],
)
def test_what_would_break_http1_is_refused(changed: dict[str, bytes], status: int) -> None:
    with pytest.raises(Refusal) as raised:
        head_of(headers(**changed), ended=True)
    assert raised.value.status == status


def test_a_call_goes_on_with_what_the_route_says() -> None:
    head = head_of(headers((b"te", b"trailers"), (b"grpc-timeout", b"1S"), (b"x-forwarded-for", b"10.0.0.1")), ended=False)
    sent = call_headers(head, b"/new", "inner", "127.0.0.1", b"fresh", b"https")
    assert sent == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/new"),
        (b":authority", b"inner"),
        (b"te", b"trailers"),
        (b"grpc-timeout", b"1S"),
        (b"x-forwarded-for", b"10.0.0.1, 127.0.0.1"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"M.example.com:8000"),
        (b"x-request-id", b"fresh"),
    ]


def test_statuses_and_messages() -> None:
    assert error_trailers(14, "50 % für\nalle") == [(b"grpc-status", b"14"), (b"grpc-message", b"50 %25 f%C3%BCr%0Aalle")]
    assert [counted_as([(b"grpc-status", code)]) for code in (b"0", b"5", b"14", b"99", b"x")] == [200, 404, 503, 500, 500]
    assert counted_as([(b"x", b"y")]) == 502
