from __future__ import annotations

from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.programs.bench.question import Body, Form, Question, bodies_of, checked_url, form_of, headers_of, model_of, path_of

RAW = Body("a.png", b"png", "image/png", Form.RAW)


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b'{"instances": [1]}', Form.V1),
        (b' {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}', Form.V2),
        (b'{"inputs": "a text for a TorchServe handler"}', Form.RAW),
        (b'{"inputs": []}', Form.RAW),
        (b'{"instances": ', Form.RAW),
        (b"[1, 2]", Form.RAW),
        (b"\x89PNG", Form.RAW),
        (b"", Form.RAW),
    ],
)
def test_the_form_is_what_the_body_is(data: bytes, form: Form) -> None:
    assert form_of(data) is form


def test_files_are_read_with_their_types(tmp_path: Path) -> None:
    names = {"a.png": b"png", "b.json": b'{"instances": []}', "c.txt": b'{"instances": []}', "d": b"?"}
    for name, data in names.items():
        (tmp_path / name).write_bytes(data)
    files = [tmp_path / name for name in names]
    assert [body.content_type for body in bodies_of(files, None)] == [
        "image/png",
        "application/json",
        "application/json",
        "application/octet-stream",
    ]
    assert {body.content_type for body in bodies_of(files, "text/x")} == {"text/x"}
    with pytest.raises(NotFound, match=r"cannot read .*nowhere: No such file"):
        bodies_of([tmp_path / "nowhere"], None)


def test_a_message_is_a_whole_request() -> None:
    question = Question("http://h:1/predictions/m?a=1", (RAW,), (("X-A", "b"),))
    lines = "POST /predictions/m?a=1 HTTP/1.1\r\nHost: h:1\r\nContent-Type: image/png\r\nContent-Length: 3\r\nX-A: b\r\n"
    assert question.messages(timed=False) == [f"{lines}\r\npng".encode()]
    assert question.messages(timed=True) == [f"{lines}x-flambeau-timing: 1\r\n\r\npng".encode()]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://h/x", ("h", 80)),
        ("https://h/x", ("h", 443)),
        ("http://m.default.localhost:8000/x", ("127.0.0.1", 8000)),
        ("http://localhost", ("127.0.0.1", 80)),
        ("http://[::1]:5/x", ("::1", 5)),
    ],
)
def test_where_it_connects(url: str, place: tuple[str, int]) -> None:
    assert Question(url, (RAW,)).place == place
    assert Question(url, (RAW,), address=("10.0.0.1", 7)).place == ("10.0.0.1", 7)


@pytest.mark.parametrize(
    ("path", "model", "other"),
    [
        ("/predictions/m", "m", "/predictions/n%2F1"),
        ("/predictions/m/2.0/x", "m", "/predictions/n%2F1/2.0/x"),
        ("/v1/models/m:predict", "m", "/v1/models/n%2F1:predict"),
        ("/v2/models/a%20b/versions/1/infer?x=1", "a b", "/v2/models/n%2F1/versions/1/infer?x=1"),
    ],
)
def test_the_model_in_a_url(path: str, model: str, other: str) -> None:
    assert model_of(f"http://h{path}") == model
    assert Question(f"http://h{path}", (RAW,)).of_model("n/1").url == f"http://h{other}"


def test_paths_by_form() -> None:
    assert [path_of("m", form) for form in Form] == ["/v1/models/m:predict", "/v2/models/m/infer", "/predictions/m"]
    assert all(model_of(f"http://h{path_of('m', form)}") == "m" for form in Form)
    assert model_of("http://h/invocations") is None


@pytest.mark.parametrize("text", ["", "h:1/x", "ftp://h/x", "http://", "http://h:port/", "http://h/a b", "http://h/\r\nX: 1"])
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(InvalidInput, match="it is no URL"):
        checked_url(text)


def test_a_url_with_a_password_is_not_shown() -> None:
    with pytest.raises(InvalidInput) as raised:
        checked_url("http://me:secret@h/x")
    assert "secret" not in str(raised.value)


def test_headers() -> None:
    assert headers_of(["X-A: b: c", "Authorization:Bearer k"]) == (("X-A", "b: c"), ("Authorization", "Bearer k"))
    for wrong in ("X-A", ": b", "X A: b", "X-A: b\r\nc: d", "Host: h", "Content-Length: 1"):
        with pytest.raises(InvalidInput) as raised:
            headers_of([wrong])
        assert "b\r\n" not in str(raised.value)
