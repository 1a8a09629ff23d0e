"""Class numbers to words: ``index_to_name.json``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)


def load_label_mapping(mapping_file_path: str | Path) -> dict[str, str] | None:
    """Read a label file.

    Takes ``{"0": "cat"}``, ``{"0": ["n02123", "cat"]}`` (the last item counts) and ``{"object_type_names": ["cat", ...]}``.

    Returns:
        The words by class number as text; None where there is no file.

    Raises:
        ValueError: the file holds something else.
    """
    path = Path(mapping_file_path)
    if not path.is_file():
        logger.info("no %s: answers name class numbers", path.name)
        return None
    mapping = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(mapping, dict):
        raise ValueError(f"{path.name} must hold a JSON object of class number to name, not a {type(mapping).__name__}")
    names = mapping.get("object_type_names")
    if isinstance(names, list):
        mapping = {str(number): name for number, name in enumerate(names)}
    labels = {key: value[-1] if isinstance(value, list) and value else value for key, value in mapping.items()}
    wrong = next((key for key, value in labels.items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise ValueError(f"{path.name} must give class {wrong} a name, not {labels[wrong]!r}")
    return labels


def map_class_to_label(
    probs: Sequence[Sequence[float]], mapping: Mapping[str, str] | None = None, lbl_classes: Sequence[Sequence[int]] | None = None
) -> list[dict[str, float]]:
    """Name each row's probabilities.

    Args:
        probs: one list of probabilities a row.
        mapping: words by class number as text; without it the number itself is the name.
        lbl_classes: the class number of each probability; without it their places.

    Returns:
        One ``{label: probability}`` a row, in the probabilities' order.
    """
    if not isinstance(probs, list):
        raise TypeError("probabilities must be a list of lists")
    classes = lbl_classes if lbl_classes is not None else [range(len(row)) for row in probs]
    words = mapping or {}
    return [
        {words.get(str(number), str(number)): probability for number, probability in zip(numbers, row, strict=False)}
        for numbers, row in zip(classes, probs, strict=True)
    ]
