#!/usr/bin/env python3
"""Write docs/metrics.md from the code's own table of metrics; ``--check`` says whether the file is current instead."""

from __future__ import annotations

import sys
from pathlib import Path

from flambeau.foundation.line_writer import BUFFER_BYTES_MAX
from flambeau.foundation.rotating_file import FILE_BYTES_MAX, FILES_KEPT
from flambeau.programs.settings.meanings import PROPERTIES
from flambeau.serving.metrics.catalog import MODEL, OURS, SERVER, TORCHSERVE_BUCKETS, Family
from flambeau.serving.metrics.handlers import MODEL_SERIES_MAX, SERIES_MAX
from tools.written import table, write_or_check

DOCUMENT = Path(__file__).parents[1] / "docs/metrics.md"

_KEYS = (
    "enable_metrics_api",
    "metrics_address",
    "metrics_mode",
    "metrics_format",
    "metrics_config",
    "model_metrics_auto_detect",
    "disable_system_metrics",
    "metric_time_interval",
)

_HEAD = """\
# Metrics and logs of the model server

Written by `make docs` from `src/flambeau/serving/metrics/catalog.py`; change it there.

`GET /metrics` on the metrics door (8082; in a pod also 8080) is Prometheus' text, on by default. `?name[]=NAME`, as often as you like,
chooses samples or whole metrics:

    curl -g 'localhost:8082/metrics?name[]=ts_inference_requests_total&name[]=flambeau_queue_depth'

| `metrics_mode` | `/metrics` | log lines |
| --- | --- | --- |
| `prometheus` (the default here) | everything | none |
| `log` (TorchServe's default) | empty | TorchServe's metrics and the handlers' |
| `legacy` | the three `ts_` counters | TorchServe's others and the handlers' |

"""

_HANDLERS = f"""
## Metrics of handlers

What a handler adds with `context.metrics` needs no registration:

    def handle(self, data, context):
        context.metrics.add_counter("Pictures", len(data))
        context.metrics.add_time("Decode", 3.2, unit="ms")

appears as `Pictures{{ModelName="mnist",Level="Model",Hostname="..."}}` after the batch. A metrics.yaml (`metrics_config`) adds names for
`get_metric`, fixes types, and switches off every metric of TorchServe's that its `ts_metrics` does not list;
`model_metrics_auto_detect=false` drops what it does not declare. A histogram has TorchServe's buckets, whatever its unit, unless its entry
says `buckets: [...]`:

    {", ".join(map(str, TORCHSERVE_BUCKETS))}

One model may have {MODEL_SERIES_MAX:,} series and all together {SERIES_MAX:,}; a request's id in a dimension would make one a request. What
is over that, has the type of another metric of its name, or is no number is dropped, counted in `flambeau_metric_updates_dropped_total`
and said once in the log. Characters that Prometheus does not allow in names become `_`.

## Alerts worth having

    rate(flambeau_worker_restarts_total[5m]) > 0
    flambeau_workers_ready == 0
    flambeau_queue_oldest_age_seconds > 5
    histogram_quantile(0.99, sum by (le, model_name) (rate(flambeau_request_seconds_bucket[5m]))) > 0.5
"""

_LOGS = f"""
## Logs

The console has one line per fact (standard error) and one per request (standard output). `FLAMBEAU_LOG_FORMAT=json` makes both JSON with
the request's id; `FLAMBEAU_LOG_LEVEL` chooses the level, `FLAMBEAU_ACCESS_LOG=off` leaves the requests out. What a worker prints carries
model, version and worker; what is logged while it answers carries `request_id=`, the `x-request-id` that the client got.

TorchServe's files are written by `torchserve`, and by `flambeau serve` where `LOG_LOCATION`, `METRICS_LOCATION` or `--log-config` asks for
them:

| file | directory | what |
| --- | --- | --- |
| `access_log.log` | `LOG_LOCATION`, else `logs` | `2026-11-25T18:05:43,120 - /127.0.0.1:51814 "POST /predictions/mnist HTTP/1.1" 200 3` |
| `ts_log.log` | the same | `2026-11-25T18:05:43,120 [INFO ] main flambeau.programs.model_server - door open ...` |
| `model_log.log` | the same | `2026-11-25T18:05:43,120 [INFO ] W-1-mnist_1.0-stdout MODEL_LOG - what the worker printed` |
| `ts_metrics.log` | `METRICS_LOCATION`, else `logs` | `2026-11-25T18:05:43,120 - Requests2XX.Count:1.0\\|#Level:Host\\|#hostname:...` |
| `model_metrics.log` | the same | the same for handlers, with `requestID:` before `timestamp:` |

A file is set aside each day and at {FILE_BYTES_MAX >> 20} MiB as `ts_log.25-Nov.log.gz`; {FILES_KEPT} are kept. Of a log4j2 file
(`--log-config`, or `-Dlog4j.configurationFile=` in `vmargs`) the levels count: of `org.pytorch.serve` and the root, and whether
`ACCESS_LOG`, `MODEL_LOG`, `TS_METRICS` and `MODEL_METRICS` let INFO through. Its appenders, layouts and filters have no effect.

Nothing waits for a log: {BUFFER_BYTES_MAX >> 20} MiB may wait for each destination; what finds no room, or a full disk, is dropped and
counted in `flambeau_log_lines_dropped_total`.
"""


def reference() -> str:
    """Return the document's text."""
    keys = table(("key", "meaning"), ((f"`{name}`", PROPERTIES[name]) for name in _KEYS))
    return "".join(
        (
            _HEAD,
            keys,
            "\n## TorchServe's\n\nNames, types, units and labels are the original's.\n\n",
            table(("name", "type", "unit", "labels", "meaning"), map(_row, (*SERVER, *MODEL))),
            "\n## Ours\n\nAlways there in the mode `prometheus`; `model_version` is the version that served the request.\n\n",
            table(("name", "type", "unit", "labels", "meaning"), map(_row, OURS)),
            _HANDLERS,
            _LOGS,
        )
    )


def _row(family: Family) -> tuple[str, ...]:
    return f"`{family.name}`", str(family.kind), family.unit, ", ".join(family.labels), family.meaning


if __name__ == "__main__":
    sys.exit(write_or_check(DOCUMENT, reference()))
