"""``from ts.handler_utils.text_utils import get_tokenizer, ngrams_iterator``."""

from flambeau.serving.handlers.defaults.tokens import get_tokenizer, ngrams_iterator

__all__ = ["get_tokenizer", "ngrams_iterator"]
