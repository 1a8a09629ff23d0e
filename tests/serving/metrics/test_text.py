from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flambeau.serving.metrics.catalog import Family, Kind
from flambeau.serving.metrics.text import Histogram, PageWriter, label_text, number_text

COUNTER = Family("Seen", Kind.COUNTER, "Count", ("a",), "")
TOOK = Family("flambeau_took_seconds", Kind.HISTOGRAM, "Seconds", ("a",), 'How\\long\nit "took".', (0.1, 1.0))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1.0"), (0.25, "0.25"), (1e-7, "1e-07"), (float("nan"), "NaN"), (float("inf"), "+Inf"), (-float("inf"), "-Inf")],
)
def test_numbers(value: float, text: str) -> None:
    assert number_text(value) == text


def page_of(wanted: frozenset[str] = frozenset()) -> str:
    histogram = Histogram(TOOK.buckets)
    for seconds in (0.1, 0.5, 7.0):
        histogram.observe(seconds)
    page = PageWriter(wanted)
    page.values(COUNTER, [(label_text(("a",), ('x"\\\n',)), 2.0), ("", 3)])
    page.histograms(TOOK, [('a="b"', histogram), ("", histogram)])
    return page.page().decode()


def test_a_page_is_what_prometheus_reads() -> None:
    assert page_of() == (
        "# HELP Seen Torchserve prometheus counter metric with unit: Count\n"
        "# TYPE Seen counter\n"
        'Seen{a="x\\"\\\\\\n"} 2.0\n'
        "Seen 3.0\n"
        '# HELP flambeau_took_seconds How\\\\long\\nit "took".\n'
        "# TYPE flambeau_took_seconds histogram\n"
        'flambeau_took_seconds_bucket{a="b",le="0.1"} 1.0\n'
        'flambeau_took_seconds_bucket{a="b",le="1.0"} 2.0\n'
        'flambeau_took_seconds_bucket{a="b",le="+Inf"} 3.0\n'
        'flambeau_took_seconds_count{a="b"} 3.0\n'
        'flambeau_took_seconds_sum{a="b"} 7.6\n'
        'flambeau_took_seconds_bucket{le="0.1"} 1.0\n'
        'flambeau_took_seconds_bucket{le="1.0"} 2.0\n'
        'flambeau_took_seconds_bucket{le="+Inf"} 3.0\n'
        "flambeau_took_seconds_count 3.0\n"
        "flambeau_took_seconds_sum 7.6\n"
    )
    [_, took] = text_string_to_metric_families(page_of())
    assert took.documentation == 'How\\long\nit "took".'


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        ({"Seen"}, 4),
        ({"flambeau_took_seconds_sum"}, 4),
        ({"flambeau_took_seconds_bucket", "Seen"}, 12),
        ({"flambeau_took_seconds"}, 12),
        ({"Nothing"}, 0),
    ],
)
def test_names_choose_samples(wanted: set[str], lines: int) -> None:
    assert page_of(frozenset(wanted)).count("\n") == lines
