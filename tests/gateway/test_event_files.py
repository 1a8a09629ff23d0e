"""What a logger's files hold, and how they are called."""

from __future__ import annotations

import base64
import csv
import io
import json

import pytest

from flambeau.gateway.document import FileFormat, Logger, LogStore
from flambeau.gateway.event_files import content_of, key_of, records_of
from flambeau.gateway.events import Event

REQUEST = "org.kubeflow.serving.inference.request"


def event(id: str = "a-1", path: str = "", format: FileFormat = FileFormat.JSON, body: bytes = b"{}") -> Event:
    store = LogStore(path, format)
    logger = Logger("s3://logs/pre", annotations=(("team", "a"),), service="m", namespace="ns", component="predictor", store=store)
    return Event(logger, REQUEST, id, "2026-11-26T00:00:00Z", "application/json", {"X-User": ["me"]}, body)


@pytest.mark.parametrize(
    ("prefix", "given", "expected"),
    [
        ("", event(), "ns/m/predictor/a-1-request.json"),
        ("pre/fix", event(path="/logs/"), "pre/fix/ns/m/predictor/logs/a-1-request.json"),
        ("", event(path="../../x//y"), "ns/m/predictor/x/y/a-1-request.json"),
    ],
)
def test_a_file_stands_below_its_component(prefix: str, given: Event, expected: str) -> None:
    assert key_of(prefix, given, "json") == expected


@pytest.mark.parametrize("id", ["../../etc/passwd", "a/b", ".hidden", "ä", "x" * 129, "a b"])
def test_a_clients_id_leads_nowhere_else(id: str) -> None:
    folder, _, name = key_of("", event(id), "json").rpartition("/")
    assert folder == "ns/m/predictor"
    assert len(name) == 64 + len("-request.json")
    assert json.loads(content_of([event(id)], FileFormat.JSON))["Id"] == id


def test_one_copy_is_an_object_and_several_are_a_list() -> None:
    alone = json.loads(content_of([event()], FileFormat.JSON))
    assert (base64.b64decode(alone["Bytes"]), alone["ReqType"], alone["Id"]) == (b"{}", REQUEST, "a-1")
    assert (alone["InferenceService"], alone["Namespace"], alone["Component"]) == ("m", "ns", "predictor")
    assert (alone["Metadata"], alone["Annotations"], alone["ContentType"]) == ({"X-User": ["me"]}, {"team": "a"}, "application/json")
    assert alone["Url"] == {"Scheme": "s3", "Host": "logs", "Path": "/pre"}
    assert [each["Id"] for each in json.loads(content_of([event("1"), event("2")], FileFormat.JSON))] == ["1", "2"]
    assert json.loads(records_of([event()])) == [alone]


def test_csv_has_the_originals_columns() -> None:
    rows = list(csv.DictReader(io.StringIO(content_of([event("1", body=b'a"b'), event("2")], FileFormat.CSV).decode())))
    assert list(rows[0])[:5] == ["url", "bytes", "contentType", "reqType", "id"]
    assert [(row["id"], row["url"], json.loads(row["metadata"])) for row in rows] == [
        ("1", "s3://logs/pre", {"X-User": ["me"]}),
        ("2", "s3://logs/pre", {"X-User": ["me"]}),
    ]
    assert base64.b64decode(rows[0]["bytes"]) == b'a"b'
