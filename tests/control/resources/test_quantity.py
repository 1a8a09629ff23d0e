"""Amounts as Kubernetes writes them."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.resources.quantity import amount, milli


@pytest.mark.parametrize(
    ("quantity", "wanted"),
    [
        *(("500m", 0.5), ("2", 2.0), (2, 2.0), ("1.5Gi", 1.5 * 1024**3), ("1e3", 1000.0), ("100k", 1e5), (".5", 0.5)),
        *((None, None), ("much", None), ("", None)),
    ],
)
def test_a_quantity_is_a_number(quantity: Any, wanted: float | None) -> None:
    assert amount(quantity) == (pytest.approx(wanted) if wanted is not None else None)


def test_a_number_is_a_quantity() -> None:
    assert [milli(value) for value in (0.25, 2.0, 1.5)] == ["250m", "2", "1500m"]
