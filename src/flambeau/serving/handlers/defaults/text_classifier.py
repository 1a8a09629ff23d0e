"""Text in, the probability of each class out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.defaults.text import TextHandler
from flambeau.serving.handlers.defaults.tokens import ngrams_iterator
from flambeau.serving.handlers.errors import InvalidRows, PredictionException, UnevenRows
from flambeau.serving.handlers.labels import map_class_to_label
from flambeau.serving.handlers.timing import timed

UNKNOWN_WORD = 0
"""The number of a word that a plain dict as vocabulary does not know, unless it has an ``<unk>``."""


class TextClassifier(TextHandler):
    """Classify text with a model of ``(word numbers, offsets)``, as EmbeddingBag's users write them."""

    ngrams = 2

    def handle(self, data: Any, context: Context) -> list[Any]:
        """Answer one text; a batch is taken apart, because subclasses prepare one text at a time."""
        if len(data) > 1:
            raise UnevenRows([[index] for index in range(len(data))])
        return super().handle(data, context)

    @timed
    def preprocess(self, data: Any) -> tuple[Any, list[str]]:
        """Return the first row's word numbers, and its words.

        Raises:
            InvalidRows: the row holds no text.
        """
        try:
            text = self._text_of(data[0])
        except PredictionException as error:
            raise InvalidRows({0: error}) from error
        text = self._expand_contractions(self._remove_html_tags(text).lower())
        words = self._tokenize(self._remove_punctuation(self._remove_accented_characters(text)))
        numbers = [self._number_of(token) for token in ngrams_iterator(words, self.ngrams)]
        return torch.as_tensor(numbers, dtype=torch.long, device=self.device), words

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the model on the numbers that preprocess made."""
        numbers, _ = data
        return super().inference(numbers, torch.as_tensor([0], device=self.device), *args, **kwargs)

    @timed
    def postprocess(self, data: Any) -> list[Any]:
        """Return each class's probability by name.

        Shapes:
            data: logits, ``(1, classes)``.
        """
        probabilities = torch.nn.functional.softmax(data, dim=-1)
        return map_class_to_label(probabilities.tolist(), self.mapping)

    def get_insights(self, text_preprocess: Any, _: Any, target: Any = 0) -> list[dict[str, Any]]:
        """Return how much each word counted for the target class.

        Of a model whose embedding is an EmbeddingBag, which has one vector for the whole text, that is one number.
        """
        numbers, words = text_preprocess
        offsets = torch.as_tensor([0], device=self.device)
        attributions = self.lig.attribute(numbers, target=int(target), additional_forward_args=(offsets,))
        importances = self.summarize_attributions(attributions)
        return [{"importances": importances.tolist(), "words": words}]

    def _text_of(self, row: Any) -> str:
        value = (row.get("data") or row.get("body")) if isinstance(row, dict) else row
        if isinstance(value, bytes | bytearray):
            try:
                value = value.decode()
            except UnicodeDecodeError as error:
                raise PredictionException(f"the text is not UTF-8: {error.reason} at byte {error.start}", 400) from error
        if not isinstance(value, str):
            raise PredictionException("no text: expected some under the key data or body", 400)
        return value

    def _number_of(self, token: str) -> int:
        vocabulary = self.source_vocab
        if isinstance(vocabulary, Mapping):
            known = vocabulary.get(token)
            return int(vocabulary.get("<unk>", UNKNOWN_WORD) if known is None else known)
        return int(vocabulary[token])
