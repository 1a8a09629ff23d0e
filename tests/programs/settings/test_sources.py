from __future__ import annotations

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.settings.properties import parse_properties
from flambeau.programs.settings.show import config_table
from flambeau.programs.settings.sources import Values, effective_values


def values(file: str = "", *, flags: dict[str, tuple[str, str]] | None = None, environment: dict[str, str] | None = None) -> Values:
    parsed = parse_properties(file, {}, file="config.properties")
    return effective_values(flags=flags or {}, environment=environment or {}, file=parsed, file_name="config.properties")


FLAG = {"job_queue_size": ("2", "--queue")}
VARIABLE = {"TS_JOB_QUEUE_SIZE": "3"}


@pytest.mark.parametrize(
    ("file", "flags", "environment", "expected", "source"),
    [
        ("", {}, {}, "100", "default"),
        ("job_queue_size=1", {}, {}, "1", "config.properties line 1"),
        ("job_queue_size=1", FLAG, {}, "2", "flag --queue"),
        ("job_queue_size=1", FLAG, VARIABLE, "2", "flag --queue"),
        ("job_queue_size=1\nenable_envvars_config=true", FLAG, VARIABLE, "3", "environment TS_JOB_QUEUE_SIZE"),
        ("enable_envvars_config=TRUE", {}, VARIABLE, "3", "environment TS_JOB_QUEUE_SIZE"),
        ("enable_envvars_config=yes", {}, VARIABLE, "100", "default"),
        ("enable_envvars_config=true", {}, {"TS_ENABLE_ENVVARS_CONFIG": "false", **VARIABLE}, "3", "environment TS_JOB_QUEUE_SIZE"),
    ],
)
def test_precedence(file: str, flags: dict[str, tuple[str, str]], environment: dict[str, str], expected: str, source: str) -> None:
    found = values(file, flags=flags, environment=environment)["job_queue_size"]
    assert (found.text, found.source) == (expected, source)


@pytest.mark.parametrize("key", ["models", "model_snapshot", "vmargs", "use_env_allowed_urls"])
def test_keys_that_no_variable_sets(key: str) -> None:
    found = values("enable_envvars_config=true", environment={"TS_" + key.upper(): "x"})
    assert found[key].source == "default"
    assert any("TS_" + key.upper() in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("TS_TOKEN_EXPIRATION_TIME_MIN", "token_expiration_min"),
        ("TS_OPEN_INFERENCE_PROTOCOL", "ts_open_inference_protocol"),
        ("TS_HEADER_KEY_SEQUENCE_END", "ts_header_key_sequence_end"),
        ("TS_SERVICE_ENVELOPE", "service_envelope"),
    ],
)
def test_irregular_variable_names(variable: str, key: str) -> None:
    assert values("enable_envvars_config=true", environment={variable: "5"})[key].text == "5"


def test_an_unknown_key_is_kept_with_the_likely_one_meant() -> None:
    found = values("job_queue_sise=1\nxyzzy=2")
    assert found["job_queue_sise"].text == "1"
    assert 'did you mean "job_queue_size"?' in found.warnings[0]
    assert found.warnings[1] == "config.properties line 2: unknown key xyzzy has no effect"


def test_a_boolean_that_is_none_is_told() -> None:
    assert any("enable_metrics_api" in warning for warning in values("enable_metrics_api=yes").warnings)


@pytest.mark.parametrize(("text", "why"), [("many", "is not a whole number"), ("-1", "is below 0")])
def test_a_bad_number_names_key_and_line(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=rf"job_queue_size \(config.properties line 1\).*{why}"):
        values(f"job_queue_size={text}")["job_queue_size"].integer()


def test_the_table_shows_sources_and_hides_secrets() -> None:
    rows = {row[0]: row for row in config_table(values("keystore_pass=hush\nmy_token=hush\nnumber_of_netty_threads=4\njob_queue_size=3"))}
    assert rows["keystore_pass"][1] == "***"
    assert rows["my_token"][1] == "***"
    assert rows["number_of_netty_threads"][2].startswith("config.properties line 3 (no effect")
    assert rows["job_queue_size"] == ("job_queue_size", "3", "config.properties line 4")
    assert "hush" not in repr(rows)
