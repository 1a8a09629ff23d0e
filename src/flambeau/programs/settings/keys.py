"""The keys of config.properties: type, default, environment name, and what each does here. Pure data."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "integer", "number", "boolean", "address", "path", "json"]
"""How a value is read. ``path`` values are looked up below the mounts of the pod."""

ONE_LOOP = "no effect: one event loop serves every door"
NO_JAVA = "no effect: there is no Java process"
IN_SNAPSHOTS = "no effect: TorchServe writes it into snapshots"


@dataclass(frozen=True, slots=True)
class Key:
    """One key."""

    name: str
    kind: Kind
    default: str = ""
    """As it would be written in the file; empty means unset."""
    environment: str | None = None
    """The variable that sets it when enable_envvars_config is true; None: no variable does."""
    note: str = ""
    """Shown by ``--show-config`` when the key does less here than in TorchServe."""
    secret: bool = False
    """The value is never printed."""


def _key(name: str, kind: Kind, default: str = "", *, environment: str | None = "", note: str = "", secret: bool = False) -> Key:
    return Key(name, kind, default, "TS_" + name.upper() if environment == "" else environment, note, secret)


_ALL = (
    _key("inference_address", "address", "http://127.0.0.1:8080"),
    _key("management_address", "address", "http://127.0.0.1:8081"),
    _key("metrics_address", "address", "http://127.0.0.1:8082"),
    _key("grpc_inference_address", "text", "127.0.0.1"),
    _key("grpc_management_address", "text", "127.0.0.1"),
    _key("grpc_inference_port", "integer", "7070", note="empty: no gRPC for this"),
    _key("grpc_management_port", "integer", "7071", note="empty: no gRPC for this"),
    _key("grpc_inference_max_connection_age_ms", "integer"),
    _key("grpc_inference_max_connection_age_grace_ms", "integer"),
    _key("grpc_management_max_connection_age_ms", "integer"),
    _key("grpc_management_max_connection_age_grace_ms", "integer"),
    _key("enable_grpc_ssl", "boolean", "false"),
    _key("model_store", "path"),
    _key("workflow_store", "path"),
    _key("load_models", "text"),
    _key("models", "json", environment=None),
    _key("model_snapshot", "json", environment=None),
    _key("default_workers_per_model", "integer", "0"),
    _key("job_queue_size", "integer", "100"),
    _key("default_response_timeout", "integer", "120"),
    _key("default_startup_timeout", "integer", "120"),
    _key("unregister_model_timeout", "integer", "120"),
    _key("number_of_netty_threads", "integer", "0", note=ONE_LOOP),
    _key("netty_client_threads", "integer", "0", note=ONE_LOOP),
    _key("number_of_gpu", "integer"),
    _key("max_request_size", "integer", "6553500"),
    _key("max_response_size", "integer", "6553500"),
    _key("limit_max_image_pixels", "boolean", "true"),
    _key("decode_input_request", "boolean", "true"),
    _key("default_service_handler", "text"),
    _key("service_envelope", "text"),
    _key("prefer_direct_buffer", "boolean", "false", note=NO_JAVA),
    _key("install_py_dep_per_model", "boolean", "false"),
    _key("blacklist_env_vars", "text"),
    _key("allowed_urls", "text"),
    _key("use_env_allowed_urls", "boolean", "false", environment=None),
    _key("initial_worker_port", "integer", "9000", note="no effect: workers are reached without ports"),
    _key("initial_distribution_port", "integer", "29500", note="no effect: torchrun takes a free port"),
    _key("enable_envvars_config", "boolean", "false", environment=None),
    _key("enable_metrics_api", "boolean", "true"),
    _key("metrics_mode", "text", "prometheus"),
    _key("metrics_format", "text", "prometheus", note="the older name of metrics_mode"),
    _key("metrics_config", "path"),
    _key("model_metrics_auto_detect", "boolean", "true"),
    _key("disable_system_metrics", "boolean", "false"),
    _key("system_metrics_cmd", "text", environment=None, note="no effect: the machine is measured without a process"),
    _key("metric_time_interval", "integer", "60", environment=None),
    _key("async_logging", "boolean", "false", note="no effect: logging never waits"),
    _key("cors_allowed_origin", "text"),
    _key("cors_allowed_methods", "text"),
    _key("cors_allowed_headers", "text"),
    _key("keystore", "path"),
    _key("keystore_pass", "text", secret=True),
    _key("keystore_type", "text", "PKCS12"),
    _key("private_key_file", "path"),
    _key("certificate_file", "path"),
    _key("disable_token_authorization", "boolean", "false"),
    _key("token_expiration_min", "number", "60", environment="TS_TOKEN_EXPIRATION_TIME_MIN"),
    _key("enable_model_api", "boolean", "false"),
    _key(
        "ts_open_inference_protocol",
        "text",
        environment="TS_OPEN_INFERENCE_PROTOCOL",
        note="no effect: the Open Inference Protocol is always on",
    ),
    _key("ts_header_key_sequence_id", "text", "ts_request_sequence_id", environment="TS_HEADER_KEY_SEQUENCE_ID"),
    _key("ts_header_key_sequence_start", "text", "ts_request_sequence_start", environment="TS_HEADER_KEY_SEQUENCE_START"),
    _key("ts_header_key_sequence_end", "text", "ts_request_sequence_end", environment="TS_HEADER_KEY_SEQUENCE_END"),
    _key("ipex_enable", "boolean", "false"),
    _key("ipex_gpu_enable", "boolean", "false"),
    _key("cpu_launcher_enable", "boolean", "false"),
    _key("cpu_launcher_args", "text"),
    _key("cpp_log_config", "path", note="no effect: there is no C++ backend"),
    _key("debug", "boolean", "false", note="the worker is started all the same: attach to its pid, or see `flambeau test-handler`"),
    _key("use_native_io", "boolean", "true", environment=None, note=NO_JAVA),
    _key("io_ratio", "integer", "50", environment=None, note=NO_JAVA),
    _key("model_server_home", "path", note=NO_JAVA),
    _key("vmargs", "text", environment=None, note="only the file that -Dlog4j.configurationFile names counts: its levels"),
    _key("plugins_path", "path", environment=None, note="no effect: plug-ins are Java"),
    _key("NUM_WORKERS", "integer", "1", environment=None),
    _key("python", "text", environment=None, note="no effect: workers run on the server's interpreter"),
    _key("version", "text", environment=None, note=IN_SNAPSHOTS),
    _key("tsConfigFile", "text", environment=None, note=IN_SNAPSHOTS),
)

KEYS = {key.name: key for key in _ALL}

OTHER_VARIABLES = frozenset(
    {"TS_CONFIG_FILE", "TS_MODEL_SERVER_HOME", "TS_DECODE_INPUT_REQUEST", "TS_BENCHMARK"}
    | {"TS_REQUEST_SEQUENCE_ID", "TS_REQUEST_SEQUENCE_START", "TS_REQUEST_SEQUENCE_END"}
)
"""TS_ variables that mean something although no key has them."""


def likely_meant(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean "x"?)``, or an empty text if nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f' (did you mean "{near[0]}"?)' if near else ""
