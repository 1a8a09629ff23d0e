"""Folders of transformers, tiny and random, behind the handler for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import tokenizers
import transformers

from flambeau.serving.handlers.defaults.huggingface import task_of
from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.handlers.service import Outcome, Service
from flambeau.serving.model import Tensors, TensorSignature

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]

WORDS = ("[PAD]", "[UNK]", "[MASK]", "a", "good", "bad", "day")
SMALL: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
BERT: dict[str, Any] = {"vocab_size": len(WORDS), **SMALL, "max_position_embeddings": 16, "num_labels": 3}


def folder(root: Path, kind: str) -> None:
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]", "eos_token": "[UNK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(root)
    transformers.set_seed(1)
    if kind == "GPT2LMHeadModel":
        config: Any = transformers.GPT2Config(vocab_size=len(WORDS), n_positions=32, n_embd=8, n_layer=1, n_head=2, eos_token_id=None)
    else:
        config = transformers.BertConfig(**BERT)
    getattr(transformers, kind)(config).save_pretrained(root)


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
