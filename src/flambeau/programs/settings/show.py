"""What ``--show-config`` prints: every key, its value, and which source set it. Pure."""

from __future__ import annotations

from flambeau.programs.settings.keys import KEYS
from flambeau.programs.settings.sources import Value, Values, key_is_secret


def config_table(values: Values) -> list[tuple[str, str, str]]:
    """Return rows of (key, value, source); secrets are hidden, and keys that do less here than in TorchServe say so."""
    return [(name, _shown(value), _source(value)) for name, value in values.by_key.items()]


def _shown(value: Value) -> str:
    return "***" if value.text and key_is_secret(value.key) else value.text


def _source(value: Value) -> str:
    note = KEYS[value.key].note if value.key in KEYS else "unknown key: no effect"
    return f"{value.source} ({note})" if note and value.source != "default" else value.source
