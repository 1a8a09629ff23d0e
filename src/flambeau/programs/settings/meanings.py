"""What each key is for, in one sentence: the words of docs/configuration.md. Pure data; a test holds it to the tables of keys."""

from __future__ import annotations

from typing import NamedTuple

PROPERTIES: dict[str, str] = {
    "inference_address": "where predictions are served: `http(s)://HOST:PORT` or `unix:/PATH`. Equal addresses share one listener",
    "management_address": "where models are registered, scaled and described; in a pod the default is port 8085, as KServe's gRPC has 8081",
    "metrics_address": "where `/metrics` is served",
    "grpc_inference_address": "host of the gRPC inference services",
    "grpc_management_address": "host of the gRPC management service",
    "grpc_inference_port": "port of the gRPC inference services",
    "grpc_management_port": "port of the gRPC management service",
    "grpc_inference_max_connection_age_ms": "a gRPC connection older than this is asked to come again; unset: never",
    "grpc_inference_max_connection_age_grace_ms": "after that, running calls may take so long",
    "grpc_management_max_connection_age_ms": "the same for the management service",
    "grpc_management_max_connection_age_grace_ms": "the same for the management service",
    "enable_grpc_ssl": "serve gRPC over TLS, with `certificate_file` and `private_key_file`",
    "model_store": "the directory that holds the archives; needed here or as `--model-store`",
    "workflow_store": "the directory that holds workflow archives; unset: the model store",
    "load_models": "what is loaded at the start: `all`, or a comma list of `ARCHIVE` and `NAME=ARCHIVE`; empty: nothing",
    "models": "JSON, per model and version: workers, batch and timeouts (see below); loads nothing by itself",
    "model_snapshot": "JSON: the models of the start with their settings (see below); `load_models` then has no effect",
    "default_workers_per_model": "workers of a model of the start that says nothing else; 0: one per GPU, or per CPU core",
    "job_queue_size": "so many requests of one model version may wait; one more is answered 503 with Retry-After",
    "default_response_timeout": "seconds one batch may take in a worker, where the model says nothing",
    "default_startup_timeout": "seconds a model may take to load, where it says nothing",
    "unregister_model_timeout": "seconds the workers of a model that goes may take for what they had accepted",
    "number_of_netty_threads": "threads of Java's HTTP server",
    "netty_client_threads": "threads of Java's connections to workers",
    "number_of_gpu": "so many of the GPUs found are used; unset: all",
    "max_request_size": "bytes of one request's body; more is answered 413",
    "max_response_size": "bytes of one answer; more is an error of that request alone",
    "limit_max_image_pixels": "refuse pictures that decompress to more pixels than Pillow thinks safe",
    "decode_input_request": "hand JSON and text bodies to the handler decoded; false: always bytes",
    "default_service_handler": "the handler of archives whose manifest names none",
    "service_envelope": "`kserve`, `kservev2`, `json` or `body`: the form of bodies on TorchServe's own routes",
    "prefer_direct_buffer": "where Java keeps its buffers",
    "install_py_dep_per_model": "install an archive's requirements.txt, cached by content, before its workers start",
    "blacklist_env_vars": "a regular expression: variables whose whole name matches are hidden from workers",
    "allowed_urls": "comma list of regular expressions: what a registration may download",
    "use_env_allowed_urls": "let TS_ALLOWED_URLS count",
    "initial_worker_port": "number of the first worker's socket",
    "initial_distribution_port": "first port for the processes of one parallel worker",
    "enable_envvars_config": "let the variables of the last column set keys; they then beat flags and file",
    "enable_metrics_api": "serve `/metrics`",
    "metrics_mode": "`prometheus`: on `/metrics`; `log`: as log lines; `legacy`: the `ts_` counters on `/metrics`, the rest as lines",
    "metrics_format": "the older name of `metrics_mode`",
    "metrics_config": "a metrics.yaml: which metrics there are, with their dimensions",
    "model_metrics_auto_detect": "take metrics of handlers that no metrics.yaml declares",
    "disable_system_metrics": "leave out the metrics of CPU, memory, disk and GPUs",
    "system_metrics_cmd": "the command that collects system metrics",
    "metric_time_interval": "seconds between two looks at the system's metrics",
    "async_logging": "how Java writes its logs",
    "cors_allowed_origin": "value of `access-control-allow-origin` on every answer",
    "cors_allowed_methods": "value of `access-control-allow-methods`",
    "cors_allowed_headers": "value of `access-control-allow-headers`",
    "keystore": "a keystore with the certificate and key of TLS",
    "keystore_pass": "its password",
    "keystore_type": "its kind",
    "private_key_file": "the key of TLS, as PEM",
    "certificate_file": "the certificate chain of TLS, as PEM",
    "disable_token_authorization": "serve without keys; else a request needs `Authorization: Bearer KEY`",
    "token_expiration_min": "minutes after which a key that the server made expires",
    "enable_model_api": "allow to register and unregister models over HTTP and gRPC",
    "ts_open_inference_protocol": "turn the Open Inference Protocol on",
    "ts_header_key_sequence_id": "the header that says to which sequence a request belongs",
    "ts_header_key_sequence_start": "the header that marks the first request of a sequence",
    "ts_header_key_sequence_end": "the header that marks the last",
    "ipex_enable": "optimize models with Intel's extension for PyTorch where it is installed",
    "ipex_gpu_enable": "put models on Intel's GPUs where PyTorch finds any",
    "cpu_launcher_enable": "start workers through `torch.backends.xeon.run_cpu`, where it runs; several get cores of their own",
    "cpu_launcher_args": "its arguments: `--ncores-per-instance 2 --use-logical-core`",
    "cpp_log_config": "logs of the C++ backend",
    "debug": "one worker a model unless it says otherwise, and no time limits, whatever says otherwise",
    "use_native_io": "which sockets Java uses",
    "io_ratio": "how Java divides its time",
    "model_server_home": "where TorchServe is installed",
    "vmargs": "arguments of the Java machine",
    "plugins_path": "directory of Java plug-ins",
    "NUM_WORKERS": "requests at once that `/execution-parameters` tells SageMaker's batch transform of",
    "python": "the interpreter that ran workers",
    "version": "of the server that wrote a snapshot",
    "tsConfigFile": "the file that the snapshot's server had read",
}
"""Key of config.properties -> what it is for. What is different here is the key's ``note``."""


class YamlKey(NamedTuple):
    """One key of model-config.yaml."""

    kind: str
    default: str
    meaning: str


MODEL_YAML: dict[str, YamlKey] = {
    "minWorkers": YamlKey("integer", "default_workers_per_model", "fewest workers; 0: the first request starts one"),
    "maxWorkers": YamlKey("integer", "minWorkers", "most workers; more than the fewest are started while requests wait"),
    "batchSize": YamlKey("integer", "1", "most requests of one batch"),
    "maxBatchDelay": YamlKey(
        "integer, ms", "100", "the most a request waits for company while every worker is busy; an idle one never waits"
    ),
    "responseTimeout": YamlKey("integer, s", "default_response_timeout", "one batch in a worker; a worker that is over it is ended"),
    "startupTimeout": YamlKey("integer, s", "default_startup_timeout", "one load of the model, warm-up included"),
    "maxRetryTimeoutInSec": YamlKey("integer, s", "300", "so long failed workers are started again in quick succession, then seldom"),
    "clientTimeoutInMills": YamlKey("integer, ms", "0", "from a request's acceptance to its answer, then 504; 0: no limit"),
    "jobQueueSize": YamlKey("integer", "job_queue_size", "so many requests may wait"),
    "useJobTicket": YamlKey("boolean", "false", "accept a request only where a worker can take it at once"),
    "deviceType": YamlKey("`cpu` or `gpu`", "gpu where there are any", "what workers run on"),
    "deviceIds": YamlKey("list of integers", "all", "the GPUs that may be used"),
    "parallelType": YamlKey(
        "`pp`, `tp`, `pptp`, `custom`", "", "one worker is a group of processes; `custom`: one process with several devices"
    ),
    "parallelLevel": YamlKey("integer", "1", "processes, and devices, of the group"),
    "torchrun": YamlKey(
        "keys and values",
        "",
        "nnodes, nproc-per-node, rdzv-backend, rdzv-endpoint, OMP_NUMBER_THREADS of the group; other keys have no effect",
    ),
    "useVenv": YamlKey("boolean", "false", "run the workers in a virtual environment with the archive's requirements"),
    "sequenceBatching": YamlKey("boolean", "false", "requests of one sequence go to one worker, in their order"),
    "sequenceMaxIdleMSec": YamlKey("integer, ms", "60000", "so long after its last answer a sequence is over"),
    "sequenceTimeoutMSec": YamlKey("integer, ms", "0", "so long after its first request a sequence is over; 0: no limit"),
    "maxNumSequence": YamlKey("integer", "1", "sequences at once"),
    "maxSequenceJobQueueSize": YamlKey("integer", "1", "requests of one sequence that may wait"),
    "continuousBatching": YamlKey("boolean", "false", "requests join and leave a running batch between two steps of the handler"),
    "asyncCommunication": YamlKey("boolean", "false", "the handler's coroutines answer requests side by side"),
    "warmup": YamlKey("list", "", "requests that a worker answers before it is ready: files of the archive, or objects (ours)"),
    "isolateFailures": YamlKey("boolean", "false", "run a batch that failed again item by item (ours); an item then runs twice at most"),
}
"""Key of model-config.yaml -> what it is for. ``handler``, ``pt2``, ``micro_batching`` and others are the handler's own."""
