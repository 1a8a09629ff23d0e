"""Label and field selectors."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.control.apiserver import selectors
from flambeau.control.resources.event import EVENT
from flambeau.control.resources.pod import POD
from flambeau.foundation.errors import InvalidInput

OBJECT = {
    "metadata": {"name": "x", "namespace": "n", "labels": {"app": "mnist", "team/a": "b", "empty": ""}},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("labels", "matches"),
    [
        ("", True),
        ("app=mnist", True),
        ("app==mnist", True),
        ("app = mnist", True),
        ("app!=mnist", False),
        ("other!=x", True),
        ("app", True),
        ("!app", False),
        ("! other", True),
        ("empty=", True),
        ("app=", False),
        ("app in (a, mnist)", True),
        ("app in (a,b)", False),
        ("app notin (a,b)", True),
        ("other notin (a)", True),
        ("app in (mnist),team/a=b,!z", True),
        ("app=mnist,team/a=c", False),
    ],
)
def test_labels(labels: str, matches: bool) -> None:
    assert selectors.parse(POD, labels, "").matches(OBJECT) is matches


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ("metadata.name=x", True),
        ("metadata.name=y", False),
        ("metadata.name!=y,metadata.namespace=n", True),
        ("status.phase=Running", True),
        ("status.phase!=Running", False),
        ("spec.nodeName=", True),
    ],
)
def test_fields(fields: str, matches: bool) -> None:
    assert selectors.parse(POD, "", fields).matches(OBJECT) is matches


def test_events_are_found_by_what_they_are_about() -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "x", "uid": "u"}, "source": {"component": "agent"}}
    assert selectors.parse(EVENT, "", "involvedObject.kind=Pod,involvedObject.uid=u,source=agent").matches(event)
    assert not selectors.parse(EVENT, "", "involvedObject.name=y").matches(event)


@pytest.mark.parametrize(("labels", "fields"), [("a=b=c", ""), ("(", ""), ("a in b", ""), ("a>1", ""), ("", "a"), ("", "spec.nothing=1")])
def test_refused(labels: str, fields: str) -> None:
    with pytest.raises(InvalidInput):
        selectors.parse(POD, labels, fields)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_parses_or_is_refused(labels: str, fields: str) -> None:
    with contextlib.suppress(InvalidInput):
        selectors.parse(POD, labels, fields).matches(OBJECT)
