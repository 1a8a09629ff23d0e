"""Conditions of a graph's steps: does a JSON document have this gjson path? Pure.

KServe tests conditions with gjson (a Go library). This is the part of its path language that tests for existence need: keys with
wildcards and escapes, array indices, ``#``, ``#(query)``, ``#(query)#`` and a leading ``@this`` or ``[@this]``. Anything else is refused
when the graph is applied, so that no condition silently means something else here. The one Python port of gjson is GPL, which does not
fit this project.
Source: gjson's description of its syntax; specification 7.3.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flambeau.foundation.errors import InvalidInput

CHARS_MAX = 1024
"""Of one condition."""
NESTING_MAX = 8
"""Queries within queries."""

_MISSING: Final = object()
_OPERATORS: Final = ("==", "!=", "<=", ">=", "!%", "=", "<", ">", "%")
_REFUSED_STARTS: Final = {"@": "modifiers", "!": "literals", "{": "multipaths", "[": "multipaths"}
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class _Key:
    """A member of an object, or an index of an array."""

    name: str
    pattern: re.Pattern[str] | None
    """Of names with wildcards."""


@dataclass(frozen=True, slots=True)
class _Each:
    """``#``: an array's length, or something of each of its entries."""


@dataclass(frozen=True, slots=True)
class _Query:
    """``#(path operator value)``: the first entry that fits, or all of them."""

    path: tuple[_Part, ...]
    operator: str
    """Empty: the path has to be there."""
    value: str
    all: bool


_Part = _Key | _Each | _Query


@dataclass(frozen=True, slots=True)
class Condition:
    """A path that a document has or has not."""

    text: str
    _parts: tuple[_Part, ...]
    _in_array: bool
    """It begins with ``[@this]``: the document is looked at as the one entry of an array."""

    @property
    def always_holds_on_arrays(self) -> bool:
        """Tell whether it finds something in any array, fitting entries or not: gjson answers ``#`` and ``#(...)#`` with a list."""
        return any(isinstance(part, _Each) or (isinstance(part, _Query) and part.all) for part in self._parts)

    def holds(self, document: Any) -> bool:
        """Tell whether a decoded JSON document has the path."""
        return _find([document] if self._in_array else document, self._parts) is not _MISSING


def parse(text: str) -> Condition:
    """Read a condition.

    Raises:
        InvalidInput: it is no path, or uses a part of gjson that is not served here; the text says which.
    """
    if len(text) > CHARS_MAX:
        raise InvalidInput(f"has {len(text)} characters, the most is {CHARS_MAX}")
    rest, in_array = text, False
    for start in ("[@this]", "@this"):
        if text == start or text.startswith(f"{start}."):
            rest, in_array = text.removeprefix(start).removeprefix("."), start == "[@this]"
            break
    else:
        if not text:
            raise InvalidInput("is empty")
    return Condition(text, tuple(_parts(rest, 0)) if rest else (), in_array)


# -- reading --


def _parts(text: str, depth: int) -> Iterator[_Part]:
    if depth > NESTING_MAX:
        raise InvalidInput(f"has queries nested more than {NESTING_MAX} deep")
    for word in _words(text):
        if word == "#":
            yield _Each()
        elif word.startswith("#("):
            yield _query(word, depth)
        elif word[:1] in _REFUSED_STARTS:
            raise InvalidInput(f'"{word}": {_REFUSED_STARTS[word[0]]} of gjson are not served here')
        else:
            yield _key(word)


def _words(text: str) -> Iterator[str]:
    """Split at dots that are neither escaped nor inside a query.

    Raises:
        InvalidInput: a part is empty, a query isn't closed, or there is a pipe.
    """
    word, depth, quoted, position = "", 0, False, 0
    while position < len(text):
        char = text[position]
        if char == "\\" and position + 1 < len(text):
            word += text[position : position + 2]
            position += 2
            continue
        if depth and char == '"':
            quoted = not quoted
        elif not quoted and char == "(" and (depth or word == "#"):
            depth += 1
        elif not quoted and depth and char == ")":
            depth -= 1
        elif not depth and char == "|":
            raise InvalidInput('"|": pipes of gjson are not served here; write a dot')
        if char == "." and not depth:
            yield _not_empty(word, text)
            word = ""
        else:
            word += char
        position += 1
    if depth or quoted:
        raise InvalidInput(f'"{word}" is not closed')
    yield _not_empty(word, text)


def _not_empty(word: str, text: str) -> str:
    if not word:
        raise InvalidInput(f'"{text}" has an empty part')
    return word


def _key(word: str) -> _Key:
    name, pieces, wild, position = "", [""], False, 0
    while position < len(word):
        char = word[position]
        if char == "\\" and position + 1 < len(word):
            position += 1
            name += word[position]
            pieces[-1] += re.escape(word[position])
        elif char == "*":
            wild = True
            pieces.append("")
        elif char == "?":
            wild = True
            pieces[-1] += "."
        else:
            name += char
            pieces[-1] += re.escape(char)
        position += 1
    return _Key(name, _wildcard(pieces) if wild else None)


def _wildcard(pieces: list[str]) -> re.Pattern[str]:
    """Return what matches the pieces with anything between them.

    Each piece is taken where it comes first and never looked for again: with many wildcards, plain ``.*`` would try for ever.
    """
    first, *rest = pieces
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
    return re.compile(f"{first}{middle}.*{rest[-1]}" if rest else first, re.DOTALL)


def _query(word: str, depth: int) -> _Query:
    inside, close, behind = word[2:].rpartition(")")
    if not close or behind not in ("", "#"):
        raise InvalidInput(f'"{word}" is no query: it is written #(path == value) or #(path == value)#')
    path, found, value = _comparison(inside)
    if found and not value:
        raise InvalidInput(f'"{word}" compares with nothing')
    parts = tuple(_parts(path, depth + 1)) if path else ()
    if not parts and not found:
        raise InvalidInput(f'"{word}" asks for nothing')
    return _Query(parts, found, _text(value), behind == "#")


def _comparison(inside: str) -> tuple[str, str, str]:
    """Return path, operator and value of a query; operators within inner queries are theirs."""
    depth = 0
    for position, char in enumerate(inside):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif not depth and char in "=!<>%" and not inside[:position].endswith("\\"):
            found = next((each for each in _OPERATORS if inside.startswith(each, position)), None)
            if found is None:
                raise InvalidInput(f'"{inside}" has no operator that is known: {" ".join(_OPERATORS)}')
            return inside[:position].strip(), found, inside[position + len(found) :].strip()
    return inside.strip(), "", ""


def _text(value: str) -> str:
    """Return a value without its quotation marks."""
    if not value.startswith('"'):
        return value
    if len(value) < 2 or not value.endswith('"'):
        raise InvalidInput(f"{value} is not closed")
    return re.sub(r"\\(.)", r"\1", value[1:-1])


# -- finding --


def _find(value: Any, parts: tuple[_Part, ...]) -> Any:
    """Return what is at the path, or _MISSING."""
    if not parts:
        return value
    part, rest = parts[0], parts[1:]
    if isinstance(part, _Key):
        return _member(value, part, rest)
    if not isinstance(value, list):
        return _MISSING
    if isinstance(part, _Each):
        return _mapped(value, rest) if rest else len(value)
    fitting = (entry for entry in value if _fits(entry, part))
    if part.all:
        return _mapped(fitting, rest)
    first = next(fitting, _MISSING)
    return _MISSING if first is _MISSING else _find(first, rest)


def _mapped(entries: Any, rest: tuple[_Part, ...]) -> list[Any]:
    return [found for entry in entries if (found := _find(entry, rest)) is not _MISSING]


def _member(value: Any, key: _Key, rest: tuple[_Part, ...]) -> Any:
    if isinstance(value, list):
        fits = key.pattern is None and key.name.isascii() and key.name.isdigit() and int(key.name) < len(value)
        return _find(value[int(key.name)], rest) if fits else _MISSING
    if not isinstance(value, dict):
        return _MISSING
    if key.pattern is None:
        return _find(value[key.name], rest) if key.name in value else _MISSING
    found = (_find(inner, rest) for name, inner in value.items() if key.pattern.fullmatch(name))
    return next((each for each in found if each is not _MISSING), _MISSING)


def _fits(entry: Any, query: _Query) -> bool:
    if query.path and not isinstance(entry, dict | list):
        return False
    found = _find(entry, query.path)
    if query.value.startswith("~") and query.operator in ("=", "==", "!="):
        return _is_like(found, query.value[1:]) == (query.operator != "!=")
    if found is _MISSING:
        return False
    return not query.operator or _compares(found, query.operator, query.value)


def _is_like(found: Any, kind: str) -> bool:
    """Tell whether a value counts as true, false or null, or is there at all (``~true``, ``~false``, ``~null``, ``~*``)."""
    if kind == "*":
        return found is not _MISSING
    if kind == "null":
        return found is None or found is _MISSING
    truth = found is not _MISSING and found not in (None, False, 0, "0", "false", "")
    return truth if kind == "true" else kind == "false" and not truth


def _compares(found: Any, sign: str, value: str) -> bool:
    """Compare as gjson does: by the type of what was found, whether the value is quoted or not."""
    if sign in ("%", "!%"):
        pattern = _wildcard(["".join("." if char == "?" else re.escape(char) for char in piece) for piece in value.split("*")])
        return isinstance(found, str) and bool(pattern.fullmatch(found)) == (sign == "%")
    compare = _COMPARE[sign]
    if isinstance(found, str):
        return compare(found, value)
    if isinstance(found, bool):
        return value in ("true", "false") and compare(found, value == "true")
    if isinstance(found, int | float):
        try:
            return compare(float(found), float(value))
        except ValueError:
            return False
    return False
