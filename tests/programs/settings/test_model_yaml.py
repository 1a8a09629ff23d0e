from __future__ import annotations

from typing import Any

import pytest

from flambeau.programs.settings.model_yaml import WARMUP_REQUESTS_MAX, fields_of
from flambeau.serving.model import Parallelism, Sequences


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ({}, {}),
        ({"handler": {"anything": [1]}, "my_own": {"batchSize": 9}}, {}),
        ({"minWorkers": 2}, {"min_workers": 2, "max_workers": 2}),
        ({"minWorkers": 0, "maxWorkers": 3}, {"min_workers": 0, "max_workers": 3}),
        ({"responseTimeout": 5, "startupTimeout": 6}, {"response_timeout_seconds": 5, "startup_timeout_seconds": 6}),
        ({"maxRetryTimeoutInSec": 7, "jobQueueSize": 8}, {"max_retry_timeout_seconds": 7, "job_queue_size": 8}),
        ({"clientTimeoutInMills": 1500}, {"client_timeout_seconds": 1.5}),
        ({"clientTimeoutInMills": 0}, {"client_timeout_seconds": None}),
        ({"useJobTicket": True, "useVenv": False}, {"use_job_ticket": True, "use_venv": False}),
        (
            {"continuousBatching": True, "asyncCommunication": True},
            {"continuous_batching": True, "async_communication": True},
        ),
        ({"deviceType": "GPU", "deviceIds": [2, 0, 2]}, {"device_type": "gpu", "device_ids": (2, 0)}),
        ({"parallelType": "tp", "parallelLevel": 4}, {"parallelism": Parallelism("tp", 4)}),
        ({"parallelType": "custom", "parallelLevel": 2}, {"parallelism": Parallelism("custom", 2)}),
        (
            {
                "parallelType": "pp",
                "parallelLevel": 9,
                "torchrun": {"nproc-per-node": 2, "rdzv-backend": "static", "rdzv-endpoint": "h:1", "OMP_NUMBER_THREADS": 3},
            },
            {"parallelism": Parallelism("pp", 2, 1, "static", "h:1", 3)},
        ),
        (
            {"sequenceBatching": True, "sequenceMaxIdleMSec": 500, "sequenceTimeoutMSec": 9000, "maxNumSequence": 4},
            {"sequences": Sequences(0.5, 9.0, 4, 1)},
        ),
        ({"sequenceBatching": False, "sequenceMaxIdleMSec": 500}, {}),
        ({"warmup": ["kitten.jpg", {"instances": [1]}]}, {"warmup": ("kitten.jpg", {"instances": [1]})}),
    ],
)
def test_what_each_key_sets(yaml: dict[str, Any], expected: dict[str, object]) -> None:
    assert fields_of(yaml) == (expected, [])


@pytest.mark.parametrize(
    ("yaml", "expected", "why"),
    [
        ({"batchSize": "x"}, {}, "batchSize: 'x' is not a whole number"),
        ({"batchSize": 0}, {}, "batchSize: 0 is below 1"),
        ({"minWorkers": 4, "maxWorkers": 1}, {}, "maxWorkers: 1 is below minWorkers 4"),
        ({"useJobTicket": "yes"}, {}, "useJobTicket: 'yes' is neither true nor false"),
        ({"deviceType": "tpu"}, {}, "deviceType: 'tpu' is neither cpu nor gpu"),
        ({"deviceIds": ["0"]}, {}, "deviceIds: ['0'] is not a list of GPU numbers"),
        ({"parallelType": "xx"}, {}, "parallelType: 'xx' is none of pp, tp, pptp, custom"),
        ({"parallelLevel": 2}, {}, "parallelLevel and torchrun have no effect without parallelType"),
        ({"parallelType": "pp", "torchrun": 2}, {"parallelism": Parallelism("pp", 1)}, "torchrun: must hold keys and values"),
        ({"parallelType": "pp", "torchrun": {"node-rank": 1}}, {"parallelism": Parallelism("pp", 1)}, "torchrun: node-rank has no effect"),
        (
            {"sequenceBatching": True},
            {"sequences": Sequences(60.0)},
            "sequenceMaxIdleMSec is not given: a sequence is over 60 s after its last answer",
        ),
        ({"warmup": "kitten.jpg"}, {}, "warmup: must be a list of files of the archive and of requests"),
        (
            {"warmup": ["a"] * (WARMUP_REQUESTS_MAX + 1)},
            {"warmup": ("a",) * WARMUP_REQUESTS_MAX},
            "warmup: only the first 100 of 101 requests are sent",
        ),
        ({"maxWorker": 2}, {}, 'maxWorker is no key of the server (did you mean "maxWorkers"?)'),
    ],
)
def test_what_is_wrong_is_told_and_the_rest_counts(yaml: dict[str, Any], expected: dict[str, object], why: str) -> None:
    assert fields_of(yaml) == (expected, [why])
