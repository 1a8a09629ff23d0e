from __future__ import annotations

import socket

from prometheus_client.parser import text_string_to_metric_families

from flambeau.serving.frontends.metrics import BUCKETS_SECONDS, ModelGauges, ServerMetrics


def samples(metrics: ServerMetrics) -> dict[tuple[str, frozenset[str]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(sample.name, frozenset(sample.labels.values())): sample.value for family in families for sample in family.samples}


def test_the_page_tells_what_was_counted() -> None:
    metrics = ServerMetrics(lambda: [ModelGauges("m", "1.0", queue_depth=3, workers_ready=2, worker_restarts=1)])
    numbers = metrics.model("m", None)
    assert metrics.model("m", None) is numbers
    assert metrics.model("m", "1.0") is not numbers
    numbers.requests, numbers.in_flight, numbers.latency_seconds = 5, 1, 0.25
    numbers.request.observe(0.001)
    numbers.request.observe(0.002)
    numbers.request.observe(1e6)
    metrics.answers[2], metrics.answers[4], metrics.answers[3] = 7, 2, 1
    told = samples(metrics)
    host = socket.gethostname()
    assert told["ts_inference_requests_total", frozenset({"m", "default", host})] == 5
    assert told["ts_inference_latency_microseconds", frozenset({"m", "default", host})] == 250_000
    assert told["Requests2XX", frozenset({"Host", host})] == 7
    assert told["Requests4XX", frozenset({"Host", host})] == 2
    assert told["Requests5XX", frozenset({"Host", host})] == 1
    assert told["flambeau_request_seconds_bucket", frozenset({"m", "default", "0.001"})] == 1
    assert told["flambeau_request_seconds_bucket", frozenset({"m", "default", str(BUCKETS_SECONDS[-1])})] == 2
    assert told["flambeau_request_seconds_bucket", frozenset({"m", "default", "+Inf"})] == 3
    assert told["flambeau_request_seconds_count", frozenset({"m", "default"})] == 3
    assert told["flambeau_requests_in_flight", frozenset({"m", "default"})] == 1
    assert told["flambeau_queue_depth", frozenset({"m", "1.0"})] == 3
    assert told["flambeau_workers_ready", frozenset({"m", "1.0"})] == 2
    assert told["flambeau_worker_restarts_total", frozenset({"m", "1.0"})] == 1


def test_a_page_without_models_is_a_page() -> None:
    assert ("Requests2XX", frozenset({"Host", socket.gethostname()})) in samples(ServerMetrics(lambda: []))
