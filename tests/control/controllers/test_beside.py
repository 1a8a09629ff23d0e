"""What the gateway saw of shadows and loggers, in words."""

from __future__ import annotations

from typing import Any

from flambeau.control.controllers.routing.beside import is_wanted, news
from flambeau.gateway.document import Backend, Document, Logger, Shadow


def status(different: int = 0, dropped: int = 0, failed: int = 0) -> dict[str, Any]:
    shadow = {
        "name": "r2",
        "same": 3,
        "different": different,
        "dropped": 0,
        "real_seconds": 0.4,
        "shadow_seconds": 0.8,
        "last": "POST /x: a",
    }
    return {
        "ns/r1": {"shadow": shadow, "logger": {"sent": 1, "dropped": dropped, "failed": failed, "last_failure": "refused"}},
        "ns/r2": {},
    }


def test_only_what_is_new_is_told() -> None:
    assert news({}, status()) == []
    (told,) = news(status(), status(different=1))
    assert (told.backend, told.reason) == ("ns/r1", "ShadowDiffers")
    assert told.message == "1 of 4 answers of shadow r2 differ (200.0 ms on average, the real one 100.0 ms); the last: POST /x: a"
    assert news(status(different=1), status(different=1)) == []
    assert [each.reason for each in news({}, status(dropped=1, failed=2))] == ["EventsDropped", "EventsFailed"]
    assert news(status(failed=1), status(failed=2))[0].message == "2 copies for the logger did not arrive; the last: refused"


def test_nobody_looks_where_nothing_stands_beside() -> None:
    assert not is_wanted(Document(1, (), (Backend("a", ()),)))
    assert is_wanted(Document(1, (), (Backend("a", (), shadow=Shadow("b", ("b",))),)))
    assert is_wanted(Document(1, (), (Backend("a", (), logger=Logger("http://x")),)))
