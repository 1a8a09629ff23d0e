from __future__ import annotations

import json
from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.settings.access import check_open_management
from flambeau.programs.settings.server import Flags, ServerSettings, load_settings


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path


def load(directory: Path, lines: str = "", **environment: str) -> ServerSettings:
    (directory / "config.properties").write_text(f"model_store=store\n{lines}")
    return load_settings(Flags(), environment, directory=directory)


def test_keys_are_made_unless_they_are_switched_off(directory: Path) -> None:
    keys = load(directory, "token_expiration_min=0.5\n").doors.keys
    assert keys is not None
    assert (keys.given, keys.file, keys.lifetime_seconds) == ({}, directory / "key_file.json", 30.0)
    assert load(directory, "disable_token_authorization=true\n").doors.keys is None
    unread = load(directory, "token_expiration_min=soon\n").doors.keys
    assert unread is not None
    assert unread.lifetime_seconds == 3600.0
    switched = load(directory, "enable_envvars_config=true\n", TS_DISABLE_TOKEN_AUTHORIZATION="true")
    assert switched.doors.keys is None


@pytest.mark.parametrize(
    ("lines", "environment", "are_wanted"),
    [
        ("", {}, False),
        ("disable_token_authorization=false\n", {}, True),
        ("", {"FLAMBEAU_INFERENCE_KEY": "a", "FLAMBEAU_MANAGEMENT_KEY": "b"}, True),
        ("disable_token_authorization=true\n", {"FLAMBEAU_INFERENCE_KEY": "a", "FLAMBEAU_MANAGEMENT_KEY": "b"}, False),
    ],
)
def test_a_pod_is_open_unless_somebody_asks_for_keys(directory: Path, lines: str, environment: dict[str, str], are_wanted: bool) -> None:
    settings = load(directory, lines, FLAMBEAU_POD_IP="127.4.5.6", **environment)
    assert (settings.doors.keys is not None) is are_wanted
    assert settings.snapshots is None


def test_keys_come_from_variables_and_from_a_file(directory: Path) -> None:
    (directory / "keys.json").write_text(json.dumps({"inference": {"key": "one"}, "management": {"key": "two"}}))
    keys = load(directory, FLAMBEAU_KEYS_FILE="keys.json", FLAMBEAU_API_KEY="three", FLAMBEAU_INFERENCE_KEY="four").doors.keys
    assert keys is not None
    assert keys.given == {"inference": "four", "management": "two", "API": "three"}


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"FLAMBEAU_INFERENCE_KEY": "one"}, "FLAMBEAU_MANAGEMENT_KEY is missing"),
        ({"FLAMBEAU_INFERENCE_KEY": "o n e", "FLAMBEAU_MANAGEMENT_KEY": "two"}, "has blanks in it"),
        ({"FLAMBEAU_KEYS_FILE": "nowhere.json"}, "cannot read FLAMBEAU_KEYS_FILE nowhere.json"),
        ({"FLAMBEAU_KEYS_FILE": "config.properties"}, "not of the form of key_file.json"),
    ],
)
def test_half_given_keys_are_refused(directory: Path, environment: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        load(directory, **environment)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("", "cannot serve https: there is no certificate"),
        ("certificate_file=config.properties\n", "private_key_file is missing"),
        ("keystore=config.properties\nkeystore_type=JKS\n", "keytool -importkeystore"),
        ("certificate_file=gone.pem\n", "is no file"),
    ],
)
def test_tls_that_cannot_be_is_refused(directory: Path, lines: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        load(directory, f"inference_address=https://127.0.0.1:0\n{lines}")


def test_secrets_do_not_print(directory: Path) -> None:
    (directory / "k.p12").touch()
    lines = "inference_address=https://127.0.0.1\nkeystore=k.p12\nkeystore_pass=hush\n"
    settings = load(directory, lines, FLAMBEAU_INFERENCE_KEY="hush", FLAMBEAU_MANAGEMENT_KEY="hush", AWS_SECRET_ACCESS_KEY="hush")
    assert "hush" not in repr(settings.doors)
    assert settings.doors.inference.port == 443
    assert settings.doors.tls is not None
    assert settings.doors.tls.keystore_password == "hush"


def test_nothing_may_be_downloaded_unless_it_is_said(directory: Path) -> None:
    assert load(directory).models.allowed == ()
    lines = "allowed_urls=https://a.example/.*,file:///b/.*\nenable_envvars_config=true\n"
    assert [rule.pattern for rule in load(directory, lines).models.allowed] == ["https://a.example/.*", "file:///b/.*"]
    told = load(directory, lines, TS_ALLOWED_URLS=".*")
    assert [rule.pattern for rule in told.models.allowed] == ["https://a.example/.*", "file:///b/.*"]
    assert "TS_ALLOWED_URLS has no effect: use_env_allowed_urls is not true" in told.notes
    counted = load(directory, lines + "use_env_allowed_urls=true\n", TS_ALLOWED_URLS="https://c.example/.*")
    assert [rule.pattern for rule in counted.models.allowed] == ["https://c.example/.*"]
    with pytest.raises(InvalidInput, match="cannot use the expression"):
        load(directory, "allowed_urls=(\n")


@pytest.mark.parametrize(
    ("hosts", "environment", "mark"),
    [
        (["127.0.0.1", "::1", "localhost", ""], {}, None),
        (["0.0.0.0"], {"FLAMBEAU_OPEN_MANAGEMENT": "true"}, None),
        (["0.0.0.0"], {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
        (["0.0.0.0"], {}, ".dockerenv"),
    ],
)
def test_management_without_keys_is_open_where_that_is_meant(
    tmp_path: Path, hosts: list[str], environment: dict[str, str], mark: str | None
) -> None:
    if mark is not None:
        (tmp_path / mark).touch()
    check_open_management(hosts, environment, root=tmp_path)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "example.org"])
def test_the_whole_network_may_not_run_code_here(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidInput, match=f"refusing to serve management on {host}") as caught:
        check_open_management(["127.0.0.1", host], {"FLAMBEAU_OPEN_MANAGEMENT": "false"}, root=tmp_path)
    assert "FLAMBEAU_OPEN_MANAGEMENT=true" in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        ("management_address=http://0.0.0.0:8081\nenable_model_api=true\ndisable_token_authorization=true\n", ["0.0.0.0", "127.0.0.1"]),
        ("grpc_management_address=0.0.0.0\nenable_model_api=true\ndisable_token_authorization=true\n", ["127.0.0.1", "0.0.0.0"]),
        ("management_address=http://0.0.0.0:8081\nenable_model_api=true\n", None),
        ("management_address=http://0.0.0.0:8081\ndisable_token_authorization=true\n", None),
    ],
)
def test_only_the_model_api_without_keys_is_looked_at(
    directory: Path, monkeypatch: pytest.MonkeyPatch, lines: str, asked: list[str] | None
) -> None:
    checks: list[list[str]] = []
    monkeypatch.setattr("flambeau.programs.settings.server.check_open_management", lambda hosts, environment: checks.append(hosts))
    load(directory, lines)
    assert checks == ([asked] if asked else [])
