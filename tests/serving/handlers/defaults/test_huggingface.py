"""Folders of transformers, tiny and random, behind the handler for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from flambeau.serving.handlers.defaults.huggingface import task_of
from flambeau.serving.handlers.defaults.writer import HeldBack
from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.handlers.service import Outcome, Service
from flambeau.serving.model import Tensors, TensorSignature
from tests.fixtures.transformers_folder import WORDS, folder

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]


def values(outcomes: list[Outcome]) -> list[Any]:
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.value for outcome in outcomes]


def loaded(load: Load, **options: Any) -> Service:
    return load({}, "huggingface_model", model={"options": options})


def test_texts_are_classified_together(tmp_path: Path, load: Load, ask: Ask) -> None:
    folder(tmp_path, "BertForSequenceClassification")
    service = loaded(load)
    texts = Tensors({"input-0": ["a good day", "bad"]})
    first, second, tensors = values(ask(service, ["a good day", {"text": "bad"}, texts]))
    assert {first, second} <= {0, 1, 2}
    assert tensors == {"output-0": [first, second]}
    assert service.signature().outputs == (TensorSignature("output-0", "INT64", (-1,)),)


def test_probabilities_are_an_option(tmp_path: Path, load: Load, ask: Ask) -> None:
    folder(tmp_path, "BertForSequenceClassification")
    [found] = values(ask(loaded(load, return_probabilities=True), ["good"]))
    assert list(found) == ["0", "1", "2"]
    assert sum(found.values()) == pytest.approx(1)


def test_every_word_gets_a_class_whatever_its_neighbours(tmp_path: Path, load: Load, ask: Ask) -> None:
    folder(tmp_path, "BertForTokenClassification")
    service = loaded(load)
    short, long = values(ask(service, ["good", "a bad day a bad day"]))
    assert (len(short), len(long)) == (1, 6)
    assert values(ask(service, ["good"])) == [short]


def test_masks_are_filled_in(tmp_path: Path, load: Load, ask: Ask) -> None:
    folder(tmp_path, "BertForMaskedLM")
    [found] = values(ask(loaded(load), ["a [MASK] day"]))
    assert found in WORDS


def test_vectors_have_unit_length(tmp_path: Path, load: Load, ask: Ask) -> None:
    folder(tmp_path, "BertModel")
    short, _ = values(ask(loaded(load), ["good", "a bad day"]))
    assert len(short) == 8
    assert numpy.linalg.norm(short) == pytest.approx(1, abs=1e-5)


def test_a_text_goes_on(tmp_path: Path, load: Load, ask: Ask) -> None:
    folder(tmp_path, "GPT2LMHeadModel")
    service = loaded(load, max_new_tokens=3)
    alone = values(ask(service, ["good"]))
    together = values(ask(service, ["good", "a bad day"]))
    assert all(isinstance(text, str) for text in together)
    assert alone == together[:1]


def test_what_is_no_text_is_refused_alone(tmp_path: Path, load: Load, ask: Ask) -> None:
    folder(tmp_path, "BertForSequenceClassification")
    good, number, tensors = ask(loaded(load), ["good", 7, Tensors({"x": numpy.array([1.0])})])
    assert (good.error, number.status, tensors.status) == (None, 400, 400)


def test_an_unknown_task_names_the_tasks(tmp_path: Path, load: Load) -> None:
    folder(tmp_path, "BertModel")
    with pytest.raises(LoadError, match="task painting is unknown: the tasks are sequence_classification"):
        loaded(load, task="painting")


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForSequenceClassification", "sequence_classification"),
        ("GPT2LMHeadModel", "text_generation"),
        ("LlamaForCausalLM", "text_generation"),
        ("T5ForConditionalGeneration", "text2text_generation"),
        ("BertModel", "text_embedding"),
    ],
)
def test_architectures_name_their_task(architecture: str, task: str) -> None:
    assert task_of([architecture]) == task


CHAT_TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}"


def generator(root: Path, load: Load) -> Service:
    folder(root, "GPT2LMHeadModel")
    (root / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return loaded(load, max_new_tokens=4)


def completion(service: Service, ask: Ask, path: str = "completions", **document: Any) -> Outcome:
    [outcome] = ask(service, [{"body": {"model": "m", "temperature": 0, **document}}], {"url_path": f"openai/v1/{path}"})
    return outcome


def test_openais_completions(tmp_path: Path, load: Load, ask: Ask) -> None:
    service = generator(tmp_path, load)
    found: Any = completion(service, ask, prompt=["a good", "bad"], max_tokens=3).value
    assert (found["object"], found["model"], [each["index"] for each in found["choices"]]) == ("text_completion", "m", [0, 1])
    assert {each["finish_reason"] for each in found["choices"]} == {"length"}
    assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    same: Any = completion(service, ask, prompt="a good", max_tokens=3, temperature=1.0, seed=7).value
    assert same["choices"] == completion(service, ask, prompt="a good", max_tokens=3, temperature=1.0, seed=7).value["choices"]  # type: ignore[index]


def test_openais_chat_uses_the_models_template(tmp_path: Path, load: Load, ask: Ask) -> None:
    found: Any = completion(generator(tmp_path, load), ask, "chat/completions", messages=[{"role": "user", "content": "a good day"}]).value
    assert (found["object"], found["choices"][0]["message"]["role"]) == ("chat.completion", "assistant")
    assert found["usage"]["completion_tokens"] == 4


def test_a_stream_says_what_the_whole_answer_says(tmp_path: Path, load: Load, ask: Ask) -> None:
    service = generator(tmp_path, load)
    whole: Any = completion(service, ask, prompt="a good").value
    parts: list[Outcome] = []
    asked = {"body": {"model": "m", "temperature": 0, "prompt": "a good", "stream": True, "stream_options": {"include_usage": True}}}
    [last] = service.predict([asked], [[("url_path", "openai/v1/completions")]], ["id"], lambda _, part: parts.append(part))
    assert {part.content_type for part in parts} == {"text/event-stream"}
    stream = b"".join(part.value for part in (*parts, last) if isinstance(part.value, bytes))
    *events, end, empty = stream.split(b"\n\n")
    assert (end, empty) == (b"data: [DONE]", b"")
    documents = [json.loads(event.removeprefix(b"data: ")) for event in events]
    text = "".join(each["choices"][0]["text"] for each in documents if each["choices"])
    assert text == whole["choices"][0]["text"]
    assert documents[-2]["choices"][0]["finish_reason"] == "length"
    assert documents[-1]["usage"] == whole["usage"]


def test_stop_sequences_are_held_back() -> None:
    seen: list[str] = []
    held = HeldBack(["END", "##"], seen.append)
    for piece in ("a", "bE", "N", "xE", "ND", "rest"):
        held.take(piece)
    held.flush()
    assert "".join(seen) == "abENx"
    open_end = HeldBack(["END"], seen.append)
    open_end.take("wordEN")
    open_end.flush()
    assert "".join(seen) == "abENxwordEN"


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ({"model": "other", "prompt": "a"}, 404, "The model 'other' does not exist; this server has m."),
        ({}, 400, "prompt: expected a text"),
        ({"prompt": "a", "n": 2}, 400, "n: one answer"),
        ({"prompt": "a", "tools": [1]}, 400, "tools: not served here"),
        ({"prompt": "a", "temperature": 3}, 400, "temperature: expected a number from 0 to 2"),
        ({"prompt": "a", "stop": ["a"] * 5}, 400, "stop: at most 4 texts"),
        ({"prompt": "a " * 40}, 400, "the prompt has 40 tokens, the model takes 1 to 31 of them"),
        ({"prompt": ["a", "b"], "stream": True}, 400, "one prompt at a time"),
    ],
)
def test_what_cannot_be_asked(tmp_path: Path, load: Load, ask: Ask, document: dict[str, Any], status: int, words: str) -> None:
    outcome = completion(generator(tmp_path, load), ask, **document)
    assert (outcome.status, words in str(outcome.error)) == (status, True), outcome.error


def test_embeddings_are_for_models_that_embed(tmp_path: Path, load: Load, ask: Ask) -> None:
    folder(tmp_path, "BertModel")
    service = loaded(load)
    found: Any = completion(service, ask, "embeddings", input=["good", "a bad day"]).value
    assert [len(each["embedding"]) for each in found["data"]] == [8, 8]
    assert found["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert completion(service, ask, prompt="a").status == 400
