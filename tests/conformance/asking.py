"""Put one case to a running server and return its answer as plain JSON, without what differs from run to run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import javaproperties

from tests.conformance.case import HERE, Case
from tests.conformance.commands import run
from tests.conformance.http_client import HttpAnswer, NoAnswer
from tests.conformance.metrics_text import metric_family
from tests.conformance.servers import POLL_SECONDS, Server

Answer = dict[str, Any]

UNTIL_SECONDS_MAX = 30.0
"""How long a case with ``until`` is asked again."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_BOUNDARY = "conformance"
_TEXT_LENGTH_MAX = 2_000
"""A longer body is compared by its length and digest."""
_USUAL_HEADERS = {
    "cache-control": "no-cache; no-store, must-revalidate, private",
    "expires": "Thu, 01 Jan 1970 00:00:00 UTC",
    "pragma": "no-cache",
    "x-request-id": "<uuid>",
}
"""Left out where they are as always; null where they are missing."""


def answer_of(server: Server, case: Case) -> Answer:
    """Return the answer to a case."""
    ask = case.ask
    if "run" in ask:
        return _masked(run(server, case), case, server)
    if "grpc" in ask:
        from tests.conformance.grpc_client import call  # noqa: PLC0415 - grpc is slow to import, and most set-ups don't need it

        return _masked(call(server, ask["grpc"], seconds=ask.get("seconds", 30)), case, server)
    if "snapshots" in ask:
        return _masked(_snapshots(server, ask["snapshots"]), case, server)
    if "metric" in ask:
        return _until(case, lambda: _metric(server, ask))
    return _until(case, lambda: _http(server, case))


def _until(case: Case, ask: Any) -> Answer:
    deadline = time.monotonic() + UNTIL_SECONDS_MAX
    while True:
        answer: Answer = ask()
        if case.ask.get("until", "") in json.dumps(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(POLL_SECONDS)


# HTTP


def _http(server: Server, case: Case) -> Answer:
    asks = case.ask.get("together")
    if asks is None:
        return _exchanged(server, case.ask, case)
    asks = [case.ask] * asks if isinstance(asks, int) else [{**case.ask, **each} for each in asks]
    with ThreadPoolExecutor(len(asks)) as threads:
        answers = list(threads.map(lambda ask: _exchanged(server, ask, case), asks))
    return {"answers": sorted(answers, key=json.dumps) if case.ask.get("sort") else answers}


def _exchanged(server: Server, ask: Mapping[str, Any], case: Case) -> Answer:
    request, is_head = request_of(server, ask)
    try:
        answer = server.exchange(ask["at"], request, seconds=ask.get("seconds", 30), is_head=is_head)
    except NoAnswer:
        return {"no_answer": True}
    return _masked(_plain(answer, chunks=ask.get("chunks", False)), case, server)


def request_of(server: Server, ask: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Return a request's bytes, and whether it is a HEAD."""
    if "raw" in ask:
        raw = server.fill_in(ask["raw"]).replace("\n", "\r\n")
        return re.sub(r"<(.)x(\d+)>", lambda match: match[1] * int(match[2]), raw).encode("latin-1"), raw.startswith("HEAD")
    method, _, target = ask["do"].partition(" ")
    headers = {"Host": "localhost", **{name: server.fill_in(str(value)) for name, value in ask.get("headers", {}).items()}}
    body, content_type = _body(server, ask)
    if content_type and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = content_type
    if body:
        headers["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {server.fill_in(target)} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body, method == "HEAD"


def _body(server: Server, ask: Mapping[str, Any]) -> tuple[bytes, str | None]:
    body = ask.get("body")
    if "multipart" in ask:
        return _multipart(ask["multipart"]), f"multipart/form-data; boundary={_BOUNDARY}"
    if "form" in ask:
        return ask["form"].encode(), "application/x-www-form-urlencoded"
    if body is None:
        return b"", None
    if isinstance(body, str):
        return server.fill_in(body).encode(), None
    if "hex" in body and len(body) == 1:
        return bytes.fromhex(body["hex"]), None
    if "zeros" in body and len(body) == 1:
        return b"0" * body["zeros"], None
    return json.dumps(body).encode(), "application/json"


def _multipart(parts: list[Mapping[str, str]]) -> bytes:
    text = ""
    for part in parts:
        filename = f'; filename="{part["filename"]}"' if "filename" in part else ""
        text += f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{part["name"]}"{filename}\r\n'
        text += f"Content-Type: {part['type']}\r\n" if "type" in part else ""
        text += f"\r\n{part['value']}\r\n"
    return f"{text}--{_BOUNDARY}--\r\n".encode()


def _plain(answer: HttpAnswer, *, chunks: bool) -> Answer:
    plain: Answer = {"status": answer.status, "reason": answer.reason, "headers": _unusual(answer), "body": _text(answer.body)}
    if answer.body.startswith(b"{") and b'"openapi"' in answer.body:
        plain["body"] = _outline(json.loads(answer.body))
    if chunks:
        plain["chunks"] = [_text(chunk) for chunk in answer.chunks]
    if answer.continued:
        plain["continued"] = True
    if answer.cut:
        plain["cut"] = True
    return plain


def _outline(document: dict[str, Any]) -> dict[str, Any]:
    """Return what an API description promises, without its prose: operations with the names of their parameters."""
    operations = {
        f"{method.upper()} {path}": [parameter["name"] for parameter in operation.get("parameters", ())]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    return {"openapi": document["openapi"], "title": document["info"]["title"], "operations": operations}


def _unusual(answer: HttpAnswer) -> dict[str, str | None]:
    """Return the headers that are not as in every answer."""
    headers: dict[str, str | None] = {name: _UUID.sub("<uuid>", value) for name, value in sorted(answer.headers.items())}
    usual = {**_USUAL_HEADERS, "connection": "keep-alive" if answer.status < 400 else "close"}
    for name, value in usual.items():
        if headers.get(name) == value:
            del headers[name]
        else:
            headers.setdefault(name, None)
    if answer.body:  # else an empty or suppressed body's length is all there is to compare
        headers.pop("content-length", None)
    return headers


def _text(data: bytes) -> Any:
    if len(data) > _TEXT_LENGTH_MAX and not data.startswith((b"{", b"[")):
        return {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


# What differs from run to run


def _masked(answer: Answer, case: Case, server: Server) -> Answer:
    answer = json.loads(_stable(json.dumps(answer), server))
    for path in case.mask:
        head, *rest = path.split(".")
        if head == "body" and isinstance(answer.get("body"), str):
            try:
                answer["body"] = json.loads(answer["body"])
            except ValueError:
                continue
        _mask(answer, [head, *rest])
    return answer


def _stable(text: str, server: Server) -> str:
    text = _UUID.sub("<uuid>", text.replace(str(server.home), "<home>").replace(str(HERE), "<here>"))
    for name, port in server.ports.items():
        text = re.sub(rf"\b{port}\b", f"<{name}>", text)
    return text


def _mask(value: Any, path: list[str]) -> None:
    head, *rest = path
    if isinstance(value, list):
        for item in value:
            _mask(item, path[1:] if head == "*" else path)
    elif isinstance(value, dict) and head in value:
        if not rest:
            value[head] = f"<{type(value[head]).__name__}>"
        else:
            _mask(value[head], rest)


# Metrics


def _metric(server: Server, ask: Mapping[str, Any]) -> Answer:
    name, *options = ask["metric"].split()
    query = "&".join(f"name[]={name}{suffix}" for suffix in ("", "_bucket", "_count", "_sum"))  # the original filters samples, not families
    answer = server.exchange("metrics", f"GET /metrics?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return metric_family(answer.body.decode(), name, with_values="values" in options)


# Snapshots


def _snapshots(server: Server, count: int) -> Answer:
    """Wait for so many snapshots; return their names without the time, and what the newest says of the models."""
    folder = server.home / "logs" / "config"
    deadline = time.monotonic() + UNTIL_SECONDS_MAX
    while len(files := sorted(folder.glob("*.cfg"))) < count and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    told = javaproperties.loads(files[-1].read_text()).get("model_snapshot") if files else None
    snapshot = json.loads(told) if told else None
    if snapshot:
        snapshot["created"], snapshot["name"] = "<created>", re.sub(r"\d", "9", snapshot["name"])
    return {"names": [re.sub(r"\d", "9", file.name) for file in files], "model_snapshot": snapshot}
