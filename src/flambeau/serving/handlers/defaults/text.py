"""Text in: cleaned, cut into words, and looked up in the archive's vocabulary."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from flambeau.serving.handlers.base import BaseHandler
from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.defaults.contractions import CONTRACTION_MAP
from flambeau.serving.handlers.defaults.tokens import CLEANUP_REGEX, get_tokenizer
from flambeau.serving.handlers.errors import PredictionException

CONTRACTIONS_PATTERN = re.compile("|".join(map(re.escape, CONTRACTION_MAP)), re.IGNORECASE | re.DOTALL)


class TextHandler(BaseHandler):
    """Serve a model of text; subclasses make its input from words."""

    def __init__(self) -> None:
        super().__init__()
        self.source_vocab: Any = None
        self.tokenizer: Callable[[str], list[str]] = get_tokenizer("basic_english")
        self.input_text: Any = None

    def initialize(self, context: Context) -> None:
        """Load the model, and the vocabulary: the manifest's ``sourceVocab``, else ``source_vocab.pt``.

        Raises:
            FileNotFoundError: there is no vocabulary.
            pickle.UnpicklingError: its file holds objects of other classes than dict, OrderedDict, Counter, list and tensors. An old
                pickle that one trusts is read with TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 in the server's environment, where its classes'
                package is installed.
        """
        super().initialize(context)
        self.source_vocab = torch.load(self.get_source_vocab_path(context), weights_only=None)

    def get_source_vocab_path(self, ctx: Context) -> str:
        """Return where the vocabulary is.

        Raises:
            FileNotFoundError: nowhere.
        """
        name = (ctx.manifest or {}).get("model", {}).get("sourceVocab") or "source_vocab.pt"
        path = Path(ctx.system_properties["model_dir"], name)
        if not path.is_file():
            raise FileNotFoundError(f"the archive holds no vocabulary {name}: add it with --extra-files")
        return str(path)

    @cached_property
    def lig(self) -> Any:
        """Integrated gradients of the model's ``embedding`` layer; captum is imported when the first explanation is asked for."""
        try:
            from captum.attr import LayerIntegratedGradients  # noqa: PLC0415 - 0.7 s and matplotlib, for one rare path
        except ImportError as error:
            raise PredictionException('explanations need captum, which is not installed: pip install "flambeau[explain]"', 501) from error
        return LayerIntegratedGradients(self.model, self.model.embedding)

    def get_word_token(self, input_tokens: Sequence[str]) -> list[str]:
        """Return words without the mark that sentence piece puts before them."""
        return [token.replace("\u2581", "") for token in input_tokens]

    def summarize_attributions(self, attributions: Any) -> Any:
        """Return one number a word, of unit length together.

        Shapes:
            attributions: ``(1, words, features)`` or ``(words, features)``.
        """
        summed = attributions.sum(dim=-1).squeeze(0)
        return summed / torch.linalg.vector_norm(summed).clamp_min(torch.finfo(summed.dtype).tiny)

    def _remove_html_tags(self, text: str) -> str:
        return CLEANUP_REGEX.sub("", text)

    def _expand_contractions(self, text: str) -> str:
        written_out = CONTRACTIONS_PATTERN.sub(lambda found: _like(found.group(0), CONTRACTION_MAP[found.group(0).lower()]), text)
        return written_out.replace("'", "")

    def _remove_accented_characters(self, text: str) -> str:
        return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()

    def _remove_punctuation(self, text: str) -> str:
        return text.translate(str.maketrans("", "", string.punctuation))

    def _remove_puncutation(self, text: str) -> str:
        """Do the same under the name that early handlers call."""
        return self._remove_punctuation(text)

    def _tokenize(self, text: str) -> list[str]:
        return self.tokenizer(text)


def _like(given: str, expanded: str) -> str:
    """Return the expansion with a capital where the contraction had one."""
    return expanded[0].upper() + expanded[1:] if given[0].isupper() else expanded
