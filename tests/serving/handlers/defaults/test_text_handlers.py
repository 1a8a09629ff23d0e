from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from flambeau.serving.handlers.defaults.contractions import CONTRACTION_MAP
from flambeau.serving.handlers.defaults.text import TextHandler
from flambeau.serving.handlers.defaults.tokens import get_tokenizer, ngrams_iterator
from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.handlers.service import Outcome, Service

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]

BAG = """
import torch

class Bag(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.EmbeddingBag(10, 2)
        self.fc = torch.nn.Linear(2, 2)

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))
"""
WORDS = BAG.replace("EmbeddingBag(10, 2)", "Embedding(10, 2)").replace(
    "self.embedding(text, offsets)", "self.embedding(text).mean(dim=0, keepdim=True)"
)
MODEL = {"modelFile": "net.py", "serializedFile": "w.pt"}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Word 1 speaks for class 0, word 2 for class 1, others for neither."""
    table = torch.zeros(10, 2)
    table[1, 0] = table[2, 1] = 5.0
    torch.save({"embedding.weight": table, "fc.weight": torch.eye(2), "fc.bias": torch.zeros(2)}, tmp_path / "w.pt")
    torch.save({"good": 1, "bad": 2, "<unk>": 0}, tmp_path / "source_vocab.pt")
    return tmp_path


def likeliest(outcome: Outcome) -> str:
    value: Any = outcome.value
    return str(max(value, key=value.get))


def test_texts_are_classified_each_alone_in_a_batch(load: Load, ask: Ask, weights: Path) -> None:
    files = {"net.py": BAG, "index_to_name.json": '{"0": "Positive", "1": "Negative"}'}
    service = load(files, "text_classifier", model=MODEL)
    rows = [{"data": b"GOOD, good!"}, {"body": "<b>bad</b> &amp; b\u00e0d"}, {"body": b"\xff"}, {"nothing": 1}, {"body": "unheard of"}]
    outcomes = ask(service, rows)
    assert [outcome.status for outcome in outcomes] == [200, 200, 400, 400, 200]
    assert [likeliest(outcomes[0]), likeliest(outcomes[1])] == ["Positive", "Negative"]
    assert "not UTF-8" in (outcomes[2].error or "")
    assert outcomes[4].value == {"Positive": 0.5, "Negative": 0.5}


def test_captum_says_how_much_each_word_counted(load: Load, ask: Ask, weights: Path) -> None:
    handler = "from ts.torch_handler.text_classifier import TextClassifier\nclass H(TextClassifier):\n    ngrams = 1\n"
    service = load({"net.py": WORDS, "h.py": handler}, "h.py", model=MODEL)
    (outcome,) = ask(service, [{"data": "so good", "target": 0}], {"explain": "True"})
    value: Any = outcome.value
    assert value["words"] == ["so", "good"]
    assert value["importances"] == [pytest.approx(0.0), pytest.approx(1.0)]


def test_captum_explains_a_bag_of_words(load: Load, ask: Ask, weights: Path) -> None:
    service = load({"net.py": BAG}, "text_classifier", model=MODEL)
    (outcome,) = ask(service, [{"data": "good film", "target": 0}], {"explain": "True"})
    assert outcome.value["words"] == ["good", "film"]  # type: ignore[index]  # a dict


@pytest.mark.parametrize(
    "vocabulary",
    [
        {"good": 1},
        OrderedDict(good=1),
        Counter(good=1),
    ],
)
def test_vocabularies_of_plain_classes_are_read(load: Load, ask: Ask, weights: Path, vocabulary: Any) -> None:
    torch.save(vocabulary, weights / "words.pt")
    service = load({"net.py": BAG}, "text_classifier", model={**MODEL, "sourceVocab": "words.pt"})
    assert likeliest(ask(service, [{"data": "good"}])[0]) == "0"


def test_a_vocabulary_that_could_run_code_is_refused_unless_allowed(
    load: Load, ask: Ask, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (weights / "old_vocabulary.py").write_text("class Vocab(dict):\n    pass\n")
    monkeypatch.syspath_prepend(str(weights))
    module = __import__("old_vocabulary")
    torch.save(module.Vocab(good=1), weights / "source_vocab.pt")
    with pytest.raises(LoadError) as caught:
        load({"net.py": BAG}, "text_classifier", model=MODEL)
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1" in (caught.value.hint or "")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.warns(UserWarning, match="forcing weights_only=False"):
        service = load({"net.py": BAG}, "text_classifier", model=MODEL)
    assert likeliest(ask(service, [{"data": "good"}])[0]) == "0"


def test_a_vocabulary_that_is_missing_is_told(load: Load, weights: Path) -> None:
    (weights / "source_vocab.pt").unlink()
    with pytest.raises(LoadError, match=r"holds no vocabulary source_vocab\.pt"):
        load({"net.py": BAG}, "text_classifier", model=MODEL)


def test_words_are_torchtexts() -> None:
    words = get_tokenizer("basic_english")
    assert words("It's \"fine\", (isn't it)? Yes; no: done.<br />") == (
        ["it", "'", "s", "fine", ",", "(", "isn", "'", "t", "it", ")", "?", "yes", "no", "done", "."]
    )
    assert get_tokenizer(None)("a B") == ["a", "B"]
    assert get_tokenizer(str.split) is str.split
    with pytest.raises(ValueError, match="spacy"):
        get_tokenizer("spacy")
    assert list(ngrams_iterator(["a", "b", "c"], 3)) == ["a", "b", "c", "a b", "b c", "a b c"]


def test_cleaning_helpers() -> None:
    handler = TextHandler()
    assert handler._expand_contractions("I'm sure they won't, it's o'clock") == "I am sure they will not, it is of the clock"
    assert handler._remove_accented_characters("d\u00e9j\u00e0") == "deja"
    assert handler._remove_punctuation("a,b.") == handler._remove_puncutation("a,b.") == "ab"
    assert handler._remove_html_tags("<p>a &lt; b</p>") == "a  b"
    assert handler.get_word_token(["\u2581a"]) == ["a"]
    assert len(CONTRACTION_MAP) > 90
    assert all(key == key.lower() for key in CONTRACTION_MAP)
