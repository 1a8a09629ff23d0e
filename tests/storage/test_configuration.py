"""What inferenceservice-config says to a fetch, and what ``model.storage`` means."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from flambeau.foundation.errors import FlambeauError, InvalidInput, NotFound
from flambeau.storage.configuration import StorageConfiguration, read_configuration
from flambeau.storage.credentials import from_secrets
from flambeau.storage.storage_spec import StorageSpec, resolve

MakeSecret = Callable[..., dict[str, Any]]
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hush"}


def config(**sections: Any) -> StorageConfiguration:
    return read_configuration({"data": {name: json.dumps(value) for name, value in sections.items()}})


def test_no_config_map_is_kserves_own() -> None:
    assert read_configuration(None) == StorageConfiguration()
    assert read_configuration({}) == StorageConfiguration()
    shipped = {"s3": {"s3AccessKeyIDName": "AWS_ACCESS_KEY_ID", "s3Endpoint": ""}, "gcs": {"gcsCredentialFileName": ""}}
    assert config(credentials=shipped, storageInitializer={"image": "x", "caBundleConfigMapName": ""}) == StorageConfiguration()


@pytest.mark.parametrize("text", ["{", "[]", '"text"'])
def test_what_is_no_json_object_is_said(text: str) -> None:
    with pytest.raises(InvalidInput, match="inferenceservice-config: its key credentials is no JSON"):
        read_configuration({"data": {"credentials": text}})


def test_a_secret_wins_over_the_config_map(make_secret: MakeSecret) -> None:
    configuration = config(credentials={"s3": {"s3Endpoint": "minio:9000", "s3UseHttps": "0", "s3Region": "r1"}})
    credentials = from_secrets([make_secret(KEYS, {"s3-region": "r2"})], configuration)
    assert credentials.get("AWS_ENDPOINT_URL") == "http://minio:9000"
    assert credentials.get("AWS_DEFAULT_REGION") == "r2"
    assert credentials.source("AWS_ENDPOINT_URL") == "config map kserve/inferenceservice-config credentials.s3.s3Endpoint"
    own = from_secrets([make_secret(KEYS, {"s3-endpoint": "other:1"})], configuration)
    assert own.get("AWS_ENDPOINT_URL") == "http://other:1"


def test_data_keys_may_have_other_names(make_secret: MakeSecret) -> None:
    configuration = config(credentials={"s3": {"s3AccessKeyIDName": "id", "s3SecretAccessKeyName": "key"}})
    credentials = from_secrets([make_secret({"id": "AKIA", "key": "hush"})], configuration)
    assert (credentials.get("AWS_ACCESS_KEY_ID"), credentials.get("AWS_SECRET_ACCESS_KEY")) == ("AKIA", "hush")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"HF_TOKEN": "t"}, {"HF_TOKEN": "t"}),
        ({"https-host": "Example.com", "headers": "A: b\nC:d"}, {"example.com-headers": '{"A": "b", "C": "d"}'}),
        ({"AZURE_STORAGE_ACCESS_KEY": "k\n"}, {"AZURE_STORAGE_ACCESS_KEY": "k"}),
        (
            {"AZ_CLIENT_ID": "i", "AZ_TENANT_ID": "t", "AZ_CLIENT_SECRET": "s", "AZ_SUBSCRIPTION_ID": "u"},
            {"AZURE_CLIENT_ID": "i", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": "s"},
        ),
        ({"HDFS_NAMENODE": "http://n:9870", "USER_PROXY": "me"}, {"HDFS_NAMENODE": "http://n:9870", "USER_PROXY": "me"}),
        ({"gcloud-application-credentials.json": '{"a": 1}\n'}, {"gcloud-application-credentials.json": '{"a": 1}'}),
        ({**KEYS, "HF_TOKEN": "t"}, {**KEYS, "HF_TOKEN": "t"}),
    ],
)
def test_each_form_of_secret(make_secret: MakeSecret, data: dict[str, str], wanted: dict[str, str]) -> None:
    credentials = from_secrets([make_secret(data)])
    assert {name: setting.value for name, setting in credentials.settings.items()} == wanted


# model.storage


def secret(**entries: Any) -> dict[str, Any]:
    return {"data": {name: base64.b64encode(json.dumps(entry).encode()).decode() for name, entry in entries.items()}}


S3 = {
    "type": "s3",
    "bucket": "b1",
    "access_key_id": "id",
    "secret_access_key": "hush",
    "endpoint_url": "http://minio:9000",
    "verify_ssl": "0",
}


def test_a_key_and_parameters() -> None:
    uri, credentials = resolve(StorageSpec("/m/n", "mine", {"bucket": "b2", "region": "r"}), secret(mine=S3), "ns/storage-config")
    assert uri == "s3://b2/m/n"
    assert credentials.get("AWS_ENDPOINT_URL") == "http://minio:9000"
    assert credentials.get("S3_VERIFY_SSL") == "0"
    assert credentials.source("AWS_DEFAULT_REGION") == "storage.parameters region"
    assert credentials.source("AWS_ACCESS_KEY_ID") == "secret ns/storage-config data key mine access_key_id"


def test_the_default_key_of_a_type_comes_first() -> None:
    both = secret(default={**S3, "bucket": "any"}, default_s3={**S3, "bucket": "typed"})
    assert resolve(StorageSpec("m", "", {"type": "s3"}), both, "ns/s")[0] == "s3://typed/m"
    assert resolve(StorageSpec("m", "", {}), both, "ns/s")[0] == "s3://any/m"


def test_parameters_alone_suffice() -> None:
    assert resolve(StorageSpec("m", "", {"type": "s3", "bucket": "b"}), None, "ns/s")[0] == "s3://b/m"


def test_hdfs_needs_no_bucket() -> None:
    uri, credentials = resolve(StorageSpec("m", "h", {}), secret(h={"type": "webhdfs", "HDFS_NAMENODE": "http://n:1"}), "ns/s")
    assert uri == "webhdfs://m"
    assert credentials.get("HDFS_NAMENODE") == "http://n:1"


@pytest.mark.parametrize(
    ("spec", "stored", "kind", "said"),
    [
        (StorageSpec("m", "x", {}), secret(y=S3), NotFound, "cannot find the storage key x in secret ns/s: its keys are y"),
        (StorageSpec("m", "x", {}), None, NotFound, "it is not there"),
        (StorageSpec("m", "", {}), None, InvalidInput, "no type is given"),
        (StorageSpec("m", "x", {}), secret(x={"type": "gs"}), InvalidInput, "the type 'gs' is not supported"),
        (StorageSpec("m", "x", {}), secret(x={"type": "s3"}), InvalidInput, "no bucket is given"),
        (StorageSpec("m", "x", {}), secret(x=[1]), InvalidInput, "it is no JSON object"),
        (StorageSpec("m", "x", {}), {"data": {"x": "%%"}}, InvalidInput, "no base64"),
    ],
)
def test_what_cannot_be_resolved_is_said(spec: StorageSpec, stored: dict[str, Any] | None, kind: type[FlambeauError], said: str) -> None:
    with pytest.raises(kind, match=said):
        resolve(spec, stored, "ns/s")
