from __future__ import annotations

import json
from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput
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
