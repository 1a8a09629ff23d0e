from __future__ import annotations

import pytest

from flambeau.foundation.server_timing import descriptions_of, duration, durations_of


def test_what_is_written_is_read() -> None:
    line = ", ".join([duration("queue", 0.0125), duration("handler", 0.000_001)])
    assert line == "queue;dur=12.500, handler;dur=0.001"
    assert durations_of([line, duration("gateway", 2.0)]) == pytest.approx({"queue": 0.0125, "handler": 0.000_001, "gateway": 2.0})


def test_what_other_servers_say_is_read_as_far_as_it_can_be() -> None:
    values = ['cache;desc="hit, warm";dur=23.2,db;dur=53', "miss", 'app;dur="7"', "odd;dur=soon", "", ";;;=,,"]
    assert durations_of(values) == pytest.approx({"cache": 0.0232, "db": 0.053, "app": 0.007})
    assert descriptions_of(values) == {"cache": "hit, warm"}
