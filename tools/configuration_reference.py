"""Write docs/configuration.md from the tables in programs/settings, so that the document cannot say what the code doesn't.

Run by ``make docs`` after a key changed. ``--check`` says whether the document is current, and changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flambeau.programs.settings.keys import KEYS, Key
from flambeau.programs.settings.meanings import MODEL_YAML, PROPERTIES
from flambeau.programs.settings.model_yaml import INTEGERS
from tools.written import table, write_or_check

DOCUMENT = Path(__file__).parents[1] / "docs/configuration.md"

_HEAD = """\
# Settings of the model server

Written by `make docs` from `src/flambeau/programs/settings`; change it there.

`flambeau serve --show-config` prints every key with its value and where the value came from.

## Which value wins

1. A variable of the environment, if the file says `enable_envvars_config=true`
2. A flag of `flambeau serve` or `torchserve`
3. The file: `TS_CONFIG_FILE`, else `--ts-config`, else the newest snapshot (not with `--ncs`, and not if
   `./config.properties` was changed after it), else `./config.properties`
4. The default

For one model: `model_snapshot`, then its model-config.yaml, then the `models` JSON, then the server's defaults. For a model that is
registered over the API, `batch_size` and `max_batch_delay` of the request come first, its workers and timeouts after its own
configuration.

Values may hold `$$NAME$$`, which the environment fills in. A key that is not listed has no effect and a warning that names the likely one
meant. A `# remark` after a value is taken off, with a warning.

## config.properties

An empty default is unset. Times are seconds, sizes bytes, unless the text says otherwise.
"""
_YAML = """
## model-config.yaml

In the archive (`torch-model-archiver --config-file`). A value of the wrong type is skipped with a warning; `handler`, `pt2`,
`micro_batching`, `pippy`, `deepspeed` and `dali`, and whatever else stands there, are the handler's, as `context.model_yaml_config`.
"""
_JSON = """
## model_snapshot and models

    model_snapshot={"name": "startup.cfg", "modelCount": 1, "models": {"mnist": {"1.0": {"defaultVersion": true, "marName": "mnist.mar", \\
        "minWorkers": 1, "maxWorkers": 5, "batchSize": 1, "maxBatchDelay": 10, "responseTimeout": 120}}}}
    models={"mnist": {"1.0": {"batchSize": 8, "maxBatchDelay": 50}}}

"""
_ENVIRONMENT = """
## Environment

| variable | meaning |
| --- | --- |
| `TS_CONFIG_FILE` | the config.properties; beats `--ts-config` |
| `LOG_LOCATION`, `METRICS_LOCATION` | directories of log files and snapshots, and of metrics' log files |
| `TEMP`, `TMPDIR` | where archives are unpacked |
| `FLAMBEAU_INFERENCE_KEY`, `FLAMBEAU_MANAGEMENT_KEY`, `FLAMBEAU_API_KEY` | the keys of requests, given instead of made, as from a Secret |
| `FLAMBEAU_KEYS_FILE` | a file of keys in the form of key_file.json |
| `FLAMBEAU_OPEN_MANAGEMENT` | `true`: let the network register models without a key, outside a container too |
| `FLAMBEAU_ACCESS_LOG` | `off`: no line per request |
| `FLAMBEAU_LOG_FORMAT` | of the console: `text`, or `json` for collectors |
| `FLAMBEAU_LOG_LEVEL` | `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`; beats a log4j file's |
| `KSERVE_OPENAI_ROUTE_PREFIX` | what stands before OpenAI's paths, `/openai` where it is not set; they are found without it, too |
| `OMP_NUM_THREADS` | compute threads of a worker; one where it is not set |
| `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` | `1`: load pickles that hold more than tensors; they can run code |
| `CUDA_VISIBLE_DEVICES` | the GPUs there are |
| `FLAMBEAU_POD_IP`, `FLAMBEAU_MOUNTS`, `FLAMBEAU_TERMINATION_LOG`, `PORT`, `INFERENCE_SERVICE_NAME` | set by the platform for a pod |
"""


def reference() -> str:
    """Return the document's text."""
    properties = table(("key", "type", "default", "environment", "meaning"), (_property_row(key) for key in KEYS.values()))
    yaml = table(
        ("key", "type", "default", "meaning"),
        ((_code(name), key.kind, _code(key.default), key.meaning) for name, key in MODEL_YAML.items()),
    )
    integers = ", ".join(f"`{name}`" for name in INTEGERS)
    json_keys = f"Both take {integers}; a snapshot also `marName` (default: the model's name with `.mar`) and `defaultVersion`.\n"
    return _HEAD + "\n" + properties + _YAML + "\n" + yaml + _JSON + json_keys + _ENVIRONMENT


def _property_row(key: Key) -> tuple[str, ...]:
    meaning = PROPERTIES[key.name] + (f". **Here:** {key.note}" if key.note else "")
    return _code(key.name), key.kind, _code(key.default), _code(key.environment or ""), meaning


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    sys.exit(write_or_check(DOCUMENT, reference()))
