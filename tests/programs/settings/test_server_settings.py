from __future__ import annotations

import json
from pathlib import Path

import pytest

from flambeau.foundation.errors import FlambeauError, InvalidInput, NotFound
from flambeau.programs.settings.grpc import GrpcDoor
from flambeau.programs.settings.models import DEBUG_SECONDS, config_merger
from flambeau.programs.settings.server import Address, Flags, ServerSettings, load_settings

SNAPSHOT = '{"name":"startup.cfg","modelCount":1,"models":{"mnist":{"1.0":{"defaultVersion":true,"marName":"mnist.mar"}}}}'
KSERVE = f"""\
inference_address=http://0.0.0.0:8085   # the door
management_address=http://0.0.0.0:8085
metrics_address=http://0.0.0.0:8082
grpc_inference_port=7070
grpc_management_port=7071
enable_metrics_api=true
metrics_format=prometheus
number_of_netty_threads=4
job_queue_size=10  # small
enable_envvars_config=true
install_py_dep_per_model=true
model_store=/mnt/models/model-store
model_snapshot={SNAPSHOT}  # one model
"""


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    """A pod's mount as KServe lays it out."""
    (tmp_path / "model-store").mkdir()
    (tmp_path / "model-store" / "mnist.mar").write_bytes(b"")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.properties").write_text(KSERVE)
    return tmp_path


def load(pod: Path, *, environment: dict[str, str] | None = None, config: str | None = None) -> ServerSettings:
    if config is not None:
        (pod / "config" / "config.properties").write_text(config)
    base = {"FLAMBEAU_MOUNTS": json.dumps({"/mnt/models": str(pod)})}
    flags = Flags(ts_config="/mnt/models/config/config.properties")
    return load_settings(flags, {**base, **(environment or {})}, directory=pod)


def test_kserves_config_in_a_pod(pod: Path) -> None:
    settings = load(
        pod,
        environment={
            "FLAMBEAU_POD_IP": "127.4.5.6",
            "PORT": "8080",
            "TS_SERVICE_ENVELOPE": "kserve",
            "XDG_CACHE_HOME": "/cache",
            "INFERENCE_SERVICE_NAME": "mnist-torchserve",
        },
    )
    doors, models = settings.doors, settings.models
    assert doors.inference == doors.management == Address("127.4.5.6", 8085)
    assert doors.metrics == Address("127.4.5.6", 8082)
    assert doors.kserve == Address("127.4.5.6", 8080)
    assert doors.service_name == "mnist-torchserve"
    assert models.envelope == "kserve"
    assert models.packages_cache == Path("/cache/flambeau/packages")
    assert models.defaults.job_queue_size == 10
    assert [path for _, path in models.startup] == [pod / "model-store" / "mnist.mar"]
    assert sum("took the remark" in note for note in settings.notes) == 3
    assert (doors.grpc.inference, doors.grpc.management) == (GrpcDoor("127.4.5.6", 7070, extra_ports=(8081,)), GrpcDoor("127.4.5.6", 7071))


@pytest.mark.parametrize(("said", "prefix"), [(None, "/openai"), ("", ""), ("llm", "/llm"), ("/a/b/", "/a/b"), ("/", "")])
def test_what_stands_before_openais_paths(pod: Path, said: str | None, prefix: str) -> None:
    environment = {} if said is None else {"KSERVE_OPENAI_ROUTE_PREFIX": said}
    assert load(pod, environment=environment).doors.openai_prefix == prefix


def test_outside_a_pod_the_doors_bind_as_configured(pod: Path) -> None:
    doors = load(pod).doors
    assert doors.inference == Address("0.0.0.0", 8085)
    assert doors.kserve is None


@pytest.mark.parametrize("key", ["inference_address", "management_address", "metrics_address"])
def test_kserves_door_is_not_opened_twice(pod: Path, key: str) -> None:
    settings = load(
        pod,
        config=f"model_store=/mnt/models/model-store\n{key}=http://0.0.0.0:9000",
        environment={"FLAMBEAU_POD_IP": "127.4.5.6", "PORT": "9000"},
    )
    assert settings.doors.kserve is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1", Address("127.0.0.1", 80)),
        ("http://0.0.0.0:9/", Address("0.0.0.0", 9)),
        ("unix:/run/x.sock", Address("", 0, Path("/run/x.sock"))),
        ("http://[::1]:8080", Address("::1", 8080)),
    ],
)
def test_addresses(pod: Path, address: str, expected: Address) -> None:
    assert load(pod, config=f"model_store=/mnt/models/model-store\ninference_address={address}").doors.inference == expected


@pytest.mark.parametrize("address", ["h:80", "http://h:port", "http://h:70000", "http://", "http://h/x"])
def test_bad_addresses(pod: Path, address: str) -> None:
    with pytest.raises(InvalidInput, match="inference_address"):
        load(pod, config=f"model_store=/mnt/models/model-store\ninference_address={address}")


@pytest.mark.parametrize(
    ("config", "error", "why"),
    [
        ("", InvalidInput, "Missing mandatory parameter --model-store"),
        ("model_store=/mnt/models/nope", NotFound, "--model-store not found: /mnt/models/nope"),
        ("model_store=/mnt/models/model-store\nload_models=a.mar", NotFound, "holds no a.mar.*it holds mnist.mar"),
        ("model_store=/mnt/models/model-store\nload_models=../a.mar", InvalidInput, "leads out of the model store"),
        ("model_store=/mnt/models/model-store\nload_models=http://h/a.mar", InvalidInput, "does not download"),
        ("model_store=/mnt/models/model-store\nload_models=/nowhere/a.mar", NotFound, "holds no /nowhere/a.mar"),
        ("model_store=/mnt/models/model-store\njob_queue_size=0", InvalidInput, "job_queue_size .*is below 1"),
    ],
)
def test_what_stops_the_start(pod: Path, config: str, error: type[FlambeauError], why: str) -> None:
    with pytest.raises(error, match=why):
        load(pod, config=config)


def test_a_named_config_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"--ts-config not found: nope\.properties"):
        load_settings(Flags(ts_config="nope.properties"), {}, directory=tmp_path)
    with pytest.raises(NotFound, match="TS_CONFIG_FILE not found: gone"):
        load_settings(Flags(ts_config="nope.properties"), {"TS_CONFIG_FILE": "gone"}, directory=tmp_path)


def test_the_variable_beats_the_flag_and_the_flag_beats_the_directory(pod: Path) -> None:
    for name, port in (("a", 1), ("b", 2), ("config", 3)):
        (pod / f"{name}.properties").write_text(f"model_store=model-store\ninference_address=http://h:{port}")
    variable = load_settings(Flags(ts_config="b.properties"), {"TS_CONFIG_FILE": "a.properties"}, directory=pod)
    flag = load_settings(Flags(ts_config="b.properties"), {}, directory=pod)
    found = load_settings(Flags(), {}, directory=pod)
    assert [settings.doors.inference.port for settings in (variable, flag, found)] == [1, 2, 3]


def test_models_flags_load_from_the_store(pod: Path) -> None:
    settings = load_settings(Flags(model_store=str(pod / "model-store"), models=("m=mnist.mar",)), {}, directory=pod / "config" / "..")
    assert [(model.name, path.name) for model, path in settings.models.startup] == [("m", "mnist.mar")]


@pytest.mark.parametrize("mounts", ["[]", "{", '{"mnt": "/x"}', '{"/mnt": 3}'])
def test_bad_mounts(pod: Path, mounts: str) -> None:
    with pytest.raises(InvalidInput, match="FLAMBEAU_MOUNTS"):
        load_settings(Flags(), {"FLAMBEAU_MOUNTS": mounts}, directory=pod)


def test_debug_takes_the_time_limits_away(pod: Path) -> None:
    models = load(pod, config=KSERVE.replace("job_queue_size=10", "debug=true\ndefault_response_timeout=3")).models
    assert (models.defaults.min_workers, models.defaults.max_workers) == (1, 1)
    configure = config_merger(models.defaults, {}, {"response_timeout_seconds": 5, "min_workers": 2, "max_workers": 2})
    config, _ = configure("m", "1.0", {"startupTimeout": 7})
    assert (config.min_workers, config.response_timeout_seconds, config.startup_timeout_seconds) == (2, DEBUG_SECONDS, DEBUG_SECONDS)


def test_handlers_read_in_their_environment_what_intels_extension_is_to_do(pod: Path) -> None:
    assert load(pod).models.worker_variables == {}
    models = load(pod, config=f"{KSERVE}\nipex_enable=true\n").models
    assert models.worker_variables == {"TS_IPEX_ENABLE": "true"}


def test_the_launchers_arguments_are_read_as_a_shell_does(pod: Path) -> None:
    assert load(pod).models.launcher_arguments is None
    config = f"{KSERVE}\ncpu_launcher_enable=true\n"
    assert load(pod, config=config).models.launcher_arguments == ()
    assert load(pod, config=f"{config}cpu_launcher_args=--core-list '0, 1'\n").models.launcher_arguments == ("--core-list", "0, 1")
    with pytest.raises(InvalidInput, match="cpu_launcher_args"):
        load(pod, config=f"{config}cpu_launcher_args='\n")


@pytest.mark.parametrize(("inference", "expected"), [("http://0.0.0.0:8080", 8085), ("http://0.0.0.0:8085", 8086)])
def test_management_that_nobody_placed_leaves_kserves_grpc_port_free(pod: Path, inference: str, expected: int) -> None:
    config = pod / "config" / "config.properties"
    lines = [line for line in config.read_text().splitlines() if "_address" not in line]
    config.write_text("\n".join([*lines, f"inference_address={inference}"]))
    assert load(pod).doors.management.port == 8081
    doors = load(pod, environment={"FLAMBEAU_POD_IP": "127.4.5.6"}).doors
    assert doors.management == Address("127.4.5.6", expected)
    assert doors.grpc.inference is not None
    assert doors.grpc.inference.extra_ports == (8081,)
