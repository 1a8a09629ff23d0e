"""Words out of text, as torchtext's ``basic_english`` made them: vocabularies were built with that, so the words must be the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

CLEANUP_REGEX = re.compile("<.*?>|&([a-z0-9]+|#[0-9]{1,6}|#x[0-9a-f]{1,6});")
"""HTML tags and entities."""

_SPACED = re.compile(r"([.,()!?'])")
_DROPPED = re.compile(r'"')
_BLANKS = re.compile(r"<br\s*/?>|[;:]")


def get_tokenizer(tokenizer: str | Callable[[str], list[str]] | None, language: str = "en") -> Callable[[str], list[str]]:
    """Return a function from text to words.

    Args:
        tokenizer: ``basic_english``, None to split at blanks, or a function of one's own.
        language: of ``basic_english``; only ``en`` is known.

    Raises:
        ValueError: another name or language.
    """
    if tokenizer is None:
        return str.split
    if callable(tokenizer):
        return tokenizer
    if tokenizer != "basic_english" or language != "en":
        raise ValueError(f"tokenizer {tokenizer!r} for {language!r} is not known: use basic_english for en, None, or a function")
    return _basic_english


def ngrams_iterator(token_list: Sequence[str], ngrams: int) -> Iterator[str]:
    """Yield the words, then each run of 2 to ``ngrams`` neighbouring words with blanks between them."""
    yield from token_list
    for size in range(2, ngrams + 1):
        for start in range(len(token_list) - size + 1):
            yield " ".join(token_list[start : start + size])


def _basic_english(line: str) -> list[str]:
    text = _BLANKS.sub(" ", _DROPPED.sub("", line.lower()))
    return _SPACED.sub(r" \1 ", text).split()
