from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

from flambeau.programs.bench.figures import Level, Measured, Split, Tried
from flambeau.programs.bench.plot import as_page, as_svg
from flambeau.programs.bench.question import Body, Form, Question
from flambeau.programs.bench.report import as_data, as_text, milliseconds

URL = "http://h:1/predictions/m?a=1&b=<2>"


def measured() -> Measured:
    """Return something of everything."""
    levels = []
    for connections, rate, count, seconds in ((1, None, 1000, 0.001), (16, None, 4000, 0.004), (16, 50.0, 50, 0.002)):
        level = Level(connections, rate, seconds=1.0)
        for _ in range(count):
            level.latencies.add(seconds)
        levels.append(level)
    levels[1].fail("503", "the queue is full")
    levels[2].unsent = 7
    split = Split()
    split.add(0.004, {"server": 0.003, "queue": 0.001, "worker": 0.002, "handler": 0.0015}, 4)
    bodies = (Body("a.png", b"png", "image/png", Form.RAW), Body("b.png", b"longer", "image/png", Form.RAW))
    seen = Measured(Question(URL, bodies), 1.0, levels, [split, split, Split()], [Tried(8, 2, levels[0])])
    seen.notes.append("the moon is full")
    return seen


def test_the_text_says_it_all() -> None:
    text = as_text(measured(), chart=True)
    rows = [line.split() for line in text.splitlines()]
    assert text.startswith(f"{URL}\n2 files: 3 to 6 bytes, raw image/png; 1 s each\n")
    assert ["1", "1,000", "1.00", "1.00", "1.00", "1.00", "0"] in rows
    assert ["16", "4,000", "4.00", "4.00", "4.00", "4.00", "1"] in rows
    assert ["16", "at", "50/s", "50", "2.00", "2.00", "2.00", "2.00", "7"] in rows
    assert [row for row in rows if row[-1:] == ["4.0"]] == [
        ["1", "1.00", "1.00", "0.500", "1.50", "4.0"],
        ["16", "1.00", "1.00", "0.500", "1.50", "4.0"],
    ]
    assert f"      16 |{'#' * 40} 4,000" in text
    assert "16: 1 x 503: the queue is full" in text
    assert "16 at 50/s: 7 were due and found no free connection" in text
    assert "  batchSize: 8\n  minWorkers: 2\n  maxWorkers: 2" in text
    assert "note: the moon is full" in text
    assert "stopped early" not in text
    assert "#" not in as_text(measured(), chart=False)


def test_nothing_is_said_to_be_nothing() -> None:
    seen = Measured(Question(URL, ()), 1.0, notes=["why"])
    assert as_text(seen, chart=True) == "nothing was measured\nnote: why"


def test_the_data_are_json() -> None:
    told = json.loads(json.dumps(as_data(measured())))
    first, second, _ = told["levels"]
    assert (first["connections"], first["requestsPerSecond"], first["failed"]) == (1, 1000.0, {})
    assert set(first["latencyMs"]) == {"mean", "p50", "p90", "p99", "p99.9"}
    assert second["failed"] == {"503": {"count": 1, "first": "the queue is full"}}
    assert first["split"] == {
        "client": 1.0,
        "gateway": 0.0,
        "receive": 0.0,
        "queue": 1.0,
        "link": 0.5,
        "decode": 0.0,
        "handler": 1.5,
        "encode": 0.0,
        "batch": 4.0,
    }
    assert told["levels"][2]["split"] is None
    assert told["search"]["best"] == {"batchSize": 8, "workers": 2}


def test_the_picture_is_svg_with_every_load() -> None:
    picture = ElementTree.fromstring(as_svg(measured()))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert URL in texts
    assert texts.count("16 at 50/s") == 3
    assert {"p99.9", "handler", "requests/s"} <= set(texts)
    page = as_page(measured(), "<report>")
    assert "<pre>&lt;report&gt;</pre>" in page
    assert "b=<2>" not in page


def test_times_have_three_digits() -> None:
    assert [milliseconds(each) for each in (0.000_012_34, 0.001_234, 0.012_34, 0.1234, 12.34)] == [
        "0.012",
        "1.23",
        "12.3",
        "123",
        "12,300",
    ]
