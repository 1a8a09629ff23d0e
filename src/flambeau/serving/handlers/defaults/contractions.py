"""English contractions and what they stand for: the text handlers write them out before they look words up."""

from __future__ import annotations

_NOT = {
    "ain't": "is not",
    "can't": "cannot",
    "shan't": "shall not",
    "won't": "will not",
    **{f"{verb}n't": f"{verb} not" for verb in ("are", "could", "did", "does", "do", "had", "has", "have", "is", "might", "must")},
    **{f"{verb}n't": f"{verb} not" for verb in ("need", "ought", "should", "was", "were", "would")},
}
_PERSONS = ("he", "i", "it", "she", "that", "there", "they", "we", "what", "when", "where", "who", "you")
_IS = {f"{word}'s": f"{word} is" for word in (*_PERSONS, "here", "how", "why", "this", "everyone", "someone", "something", "one")}
_WILL = {f"{word}'ll": f"{word} will" for word in (*_PERSONS, "this", "these", "those")}
_WOULD = {f"{word}'d": f"{word} would" for word in _PERSONS}
_HAVE = {f"{word}'ve": f"{word} have" for word in ("i", "they", "we", "you", "who", "could", "might", "must", "should", "would")}
_ARE = {f"{word}'re": f"{word} are" for word in ("they", "we", "you", "who", "what", "there")}

CONTRACTION_MAP: dict[str, str] = {
    **_NOT,
    **_IS,
    **_WILL,
    **_WOULD,
    **_HAVE,
    **_ARE,
    "i'm": "i am",
    "let's": "let us",
    "how'd": "how did",
    "ma'am": "madam",
    "o'clock": "of the clock",
    "y'all": "you all",
    "'cause": "because",
}
"""In lower case."""
