"""Patches applied to plain values: JSON merge patch, JSON patch, strategic merge patch. Pure.

None of these changes its arguments. Server-side apply is in ``apply``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from flambeau.control.apiserver import list_keys
from flambeau.foundation.errors import InvalidInput, TooLarge

OPERATIONS_MAX = 10_000
"""Operations of one JSON patch."""
COPIED_VALUES_MAX = 100_000
"""Values that the ``copy`` operations of one JSON patch may make (each can double the document)."""


def merge(target: Any, patch: Any) -> Any:
    """Return the target with a JSON merge patch applied (RFC 7396): null removes, lists are replaced."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def json_patch(target: Any, operations: list[Any]) -> Any:
    """Return the target with a JSON patch applied (RFC 6902).

    Raises:
        InvalidInput: an operation is malformed, its path isn't there, or its test fails.
        TooLarge: there are too many operations, or they copy too much.
    """
    if len(operations) > OPERATIONS_MAX:
        raise TooLarge(f"the JSON patch has {len(operations)} operations: at most {OPERATIONS_MAX} are taken")
    document = copy.deepcopy(target)
    copied = 0
    for number, operation in enumerate(operations):
        if not isinstance(operation, dict) or operation.get("op") not in _OPERATIONS:
            raise InvalidInput(f"operation {number} of the JSON patch is none", hint=f"op must be one of {', '.join(_OPERATIONS)}")
        if operation["op"] == "copy":
            copied += _size(_find(document, _pointer(operation, "from")))
            if copied > COPIED_VALUES_MAX:
                raise TooLarge(f"the JSON patch copies more than {COPIED_VALUES_MAX} values")
        document = _OPERATIONS[operation["op"]](document, operation)
    return document


def _op_add(document: Any, operation: dict[str, Any]) -> Any:
    return _add(document, _pointer(operation, "path"), _operand(operation))


def _op_remove(document: Any, operation: dict[str, Any]) -> Any:
    return _remove(document, _pointer(operation, "path"))


def _op_replace(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation, "path")
    return _add(_remove(document, path), path, _operand(operation))


def _op_move(document: Any, operation: dict[str, Any]) -> Any:
    source, path = _pointer(operation, "from"), _pointer(operation, "path")
    if path[: len(source)] == source and path != source:
        raise InvalidInput(f"the JSON patch cannot move {_show(source)!r} into itself")
    value = _find(document, source)
    return _add(_remove(document, source), path, value)


def _op_copy(document: Any, operation: dict[str, Any]) -> Any:
    return _add(document, _pointer(operation, "path"), copy.deepcopy(_find(document, _pointer(operation, "from"))))


def _op_test(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation, "path")
    if _find(document, path) != _operand(operation):
        raise InvalidInput(f"the JSON patch's test of {_show(path)!r} failed: the value there is another")
    return document


_OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "add": _op_add,
    "remove": _op_remove,
    "replace": _op_replace,
    "move": _op_move,
    "copy": _op_copy,
    "test": _op_test,
}


def _operand(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise InvalidInput(f"the JSON patch's {operation['op']} has no value")
    return copy.deepcopy(operation["value"])


def _pointer(operation: dict[str, Any], field: str) -> tuple[str, ...]:
    """Return a JSON pointer (RFC 6901) taken apart."""
    text = operation.get(field)
    if not isinstance(text, str) or not (text == "" or text.startswith("/")):
        raise InvalidInput(f"the JSON patch's {operation['op']} has no {field}, or one that does not begin with a slash")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _show(path: tuple[str, ...]) -> str:
    return "/" + "/".join(path)


def _index(part: str, length: int, path: tuple[str, ...]) -> int:
    if not (part.isascii() and part.isdigit()) or len(part) > 9 or int(part) >= length:
        raise InvalidInput(f"the JSON patch's path {_show(path)!r} does not exist: the list there has {length} items")
    return int(part)


def _find(document: Any, path: tuple[str, ...]) -> Any:
    node = document
    for part in path:
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list):
            node = node[_index(part, len(node), path)]
        else:
            raise InvalidInput(f"the JSON patch's path {_show(path)!r} does not exist")
    return node


def _remove(document: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return None
    _find(document, path)
    parent = _find(document, path[:-1])
    if isinstance(parent, list):
        del parent[int(path[-1])]
    else:
        del parent[path[-1]]
    return document


def _add(document: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    parent = _find(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else _index(path[-1], len(parent) + 1, path), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise InvalidInput(f"the JSON patch's path {_show(path)!r} leads into a value that has no fields")
    return document


def _size(value: Any) -> int:
    count, pending = 0, [value]
    while pending:
        node = pending.pop()
        count += 1
        pending.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
    return count


def strategic(target: Any, patch: Any, field: str = "") -> Any:
    """Return the target with a strategic merge patch applied.

    Lists whose items have a merge key (``list_keys``) are merged item by item, others replaced. Directives: ``$patch: replace|delete``,
    ``$deleteFromPrimitiveList/<field>``, ``$setElementOrder/<field>``, ``$retainKeys``.

    Raises:
        InvalidInput: a directive is malformed.
    """
    if isinstance(patch, list):
        return _strategic_list(target if isinstance(target, list) else [], patch, field)
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: copy.deepcopy(value) for name, value in patch.items() if not name.startswith("$")}
    if directive == "delete":
        return {}
    result = dict(target) if isinstance(target, dict) else {}
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        result = {name: value for name, value in result.items() if name in retained}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            _delete_from(result, name.partition("/")[2], value)
        elif name.startswith("$"):
            continue
        elif value is None:
            result.pop(name, None)
        else:
            result[name] = strategic(result.get(name), value, name)
    for name, order in patch.items():
        if name.startswith("$setElementOrder/"):
            _order(result, name.partition("/")[2], order)
    return result


def _strategic_list(target: list[Any], patch: list[Any], field: str) -> list[Any]:
    if {"$patch": "replace"} in patch:
        return [copy.deepcopy(item) for item in patch if item != {"$patch": "replace"}]
    if list_keys.is_set(field):
        return [*target, *(copy.deepcopy(item) for item in patch if item not in target)]
    keys = list_keys.merge_keys(field, [*target, *patch])
    if keys is None:
        return copy.deepcopy(patch)
    result = list(target)
    for item in patch:
        identity = list_keys.identity(item, keys)
        place = next((index for index, old in enumerate(result) if list_keys.identity(old, keys) == identity), None)
        if item.get("$patch") == "delete":
            result = [old for old in result if list_keys.identity(old, keys) != identity]
        elif place is None:
            result.append(strategic({}, item))
        else:
            result[place] = strategic(result[place], item)
    return result


def _delete_from(result: dict[str, Any], field: str, gone: Any) -> None:
    if not isinstance(gone, list):
        raise InvalidInput(f"$deleteFromPrimitiveList/{field} is no list")
    if isinstance(result.get(field), list):
        result[field] = [item for item in result[field] if item not in gone]


def _order(result: dict[str, Any], field: str, order: Any) -> None:
    """Sort a list as the patch wants it; items that it doesn't name keep their place behind."""
    items = result.get(field)
    if not isinstance(order, list) or not isinstance(items, list):
        return
    keys = list_keys.merge_keys(field, [*items, *order]) if all(isinstance(item, dict) for item in items) else None
    ranks = [list_keys.identity(item, keys) if keys else item for item in order]

    def rank(item: Any) -> int:
        wanted = list_keys.identity(item, keys) if keys else item
        return ranks.index(wanted) if wanted in ranks else len(ranks)

    result[field] = sorted(items, key=rank)
