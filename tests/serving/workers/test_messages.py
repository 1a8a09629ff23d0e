from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.serving.model import Answer, Job, Method, ModelConfig, ModelSpec, Protocol
from flambeau.serving.workers.link import BrokenFrame
from flambeau.serving.workers.messages import answers_message, answers_of, batches_message, batches_of, spec_of, spec_text

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
JOBS = st.builds(Job, TEXT, st.sampled_from(Protocol), st.sampled_from(Method), TEXT, PAIRS, st.binary(max_size=50), PAIRS)
ANSWERS = st.builds(Answer, st.integers(200, 599), st.none() | TEXT, st.binary(max_size=50), PAIRS, st.none() | TEXT, st.floats(0, 1e6))


@given(st.lists(st.lists(JOBS, max_size=5), max_size=3))
def test_batches_arrive_as_they_were_sent(batches: list[list[Job]]) -> None:
    text, bodies = batches_message(batches)
    assert batches_of(text, memoryview(b"".join(bodies))) == batches


@given(st.lists(ANSWERS, max_size=5))
def test_answers_arrive_as_they_were_sent(answers: list[Answer]) -> None:
    text, bodies = answers_message(answers)
    assert answers_of(text, b"".join(bodies), len(answers)) == answers


@pytest.mark.parametrize("text", [b"[]", b"{", b"[[200]]", b"[1]", b"[[200,null,[],null,0.0,5]]"])
def test_answers_that_do_not_fit_the_batch_break_the_link(text: bytes) -> None:
    with pytest.raises(BrokenFrame):
        answers_of(text, b"", 1)


def test_a_spec_arrives_whole_with_what_only_yaml_can_say() -> None:
    yaml: dict[str, object] = {"handler": {1: "one", "until": datetime.date(2026, 1, 1), "limit": float("inf")}}
    spec = ModelSpec(
        "m", "1.0", Path("/models/m"), "m.mar", "h.py", {"model": {"modelName": "m"}}, "kserve", ModelConfig(batch_size=3), yaml
    )
    assert spec_of(spec_text(spec)) == spec
