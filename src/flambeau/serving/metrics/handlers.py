"""The metrics of handlers, as their workers send them: kept in bounded number, by name and labels. No clock, no loop.

A handler that puts a request id into a dimension makes a series a request; beyond the bounds updates are dropped, counted and said once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence

from flambeau.serving.metrics.catalog import BY_NAME, MODEL, TORCHSERVE_BUCKETS, Family, Kind
from flambeau.serving.metrics.text import Histogram, PageWriter, label_text, sample_names
from flambeau.serving.model import MetricUpdate

_log = logging.getLogger(__name__)

FAMILIES_MAX = 1_000
"""Metrics of all handlers together."""
SERIES_MAX = 10_000
"""Series of all handlers together; a histogram counts as one."""
MODEL_SERIES_MAX = 1_000
"""Series of one model."""
DIMENSIONS_MAX = 32
TEXT_CHARACTERS_MAX = 256
"""Of a name or a label's value; the rest is cut."""

REASONS = ("series", "type", "undeclared", "value")
"""Why an update may be dropped."""

_KINDS = frozenset(kind.value for kind in Kind)
_BACKEND = frozenset(family.name for family in MODEL)
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")


class _Series:
    """One line of a metric; of a histogram, its lines."""

    __slots__ = ("histogram", "model", "value")

    def __init__(self, model: str, family: Family) -> None:
        self.model = model
        """Whose handler began it; it is forgotten with this model."""
        self.value = 0.0
        self.histogram = Histogram(family.buckets)


class _Kept:
    """One metric with its series, by their label text."""

    __slots__ = ("family", "series")

    def __init__(self, family: Family) -> None:
        self.family = family
        self.series: dict[str, _Series] = {}


class HandlerSeries:
    """Keep what handlers measure.

    Args:
        declared: model_metrics of metrics.yaml.
        auto_detect: whether others are kept too.
        hostname: becomes the label ``Hostname``.
    """

    def __init__(self, declared: Mapping[str, Family], *, auto_detect: bool, hostname: str) -> None:
        self._auto_detect = auto_detect
        self._hostname = hostname
        self._kept: dict[str, _Kept] = {}
        self._taken: set[str] = set()
        # As workers send them -> where they belong: cleaning names costs more than adding numbers.
        self._known: dict[tuple[str, str, str, tuple[tuple[str, str], ...]], tuple[Family, _Series]] = {}
        self._series = 0
        self._series_of_model: dict[str, int] = {}
        self._said: set[str] = set()
        self.dropped = dict.fromkeys(REASONS, 0)
        for family in declared.values():
            if family.name not in _BACKEND:
                self._keep(family)

    def take(self, model: str, update: MetricUpdate) -> Family | None:
        """Add one update.

        Args:
            model: whose handler sent it.
            update: what it sent.

        Returns:
            The metric that it belongs to, for the log; None if it was dropped.
        """
        if not isinstance(update.value, int | float) or (update.kind == Kind.COUNTER and not update.value >= 0):
            self._drop("value", model, f"{update.name} cannot take {update.value}")
            return None
        key = (model, update.name, update.kind, update.dimensions)
        known = self._known.get(key)
        if known is None:
            known = self._place_of(model, update)
            if known is None:
                return None
            if len(self._known) >= SERIES_MAX:
                self._known.clear()
            self._known[key] = known
        family, series = known
        if family.kind is Kind.HISTOGRAM:
            series.histogram.observe(update.value)
        else:
            series.value = update.value + (series.value if family.kind is Kind.COUNTER else 0.0)
        return family

    def forget(self, models: Iterable[str]) -> None:
        """Remove the series of models that are gone."""
        gone = set(models)
        for kept in self._kept.values():
            kept.series = {labels: series for labels, series in kept.series.items() if series.model not in gone}
        self._known.clear()
        for model in gone:
            self._series -= self._series_of_model.pop(model, 0)

    def models(self) -> set[str]:
        """Return the models that have series."""
        return set(self._series_of_model)

    def write(self, page: PageWriter) -> None:
        """Write every metric; may run beside ``take``, in another thread."""
        for kept in list(self._kept.values()):
            samples = list(kept.series.items())
            if kept.family.kind is Kind.HISTOGRAM:
                page.histograms(kept.family, [(labels, series.histogram) for labels, series in samples])
            else:
                page.values(kept.family, [(labels, series.value) for labels, series in samples])

    def _place_of(self, model: str, update: MetricUpdate) -> tuple[Family, _Series] | None:
        """Return where an update belongs, made if need be; None if it has no place."""
        name = _NOT_IN_NAMES.sub("_", update.name[:TEXT_CHARACTERS_MAX]) or "_"
        name = f"_{name}" if name[0].isdecimal() else name
        if name in _BACKEND:
            return None  # the front measures these itself
        kept = self._kept.get(name) or self._detected(model, name, update)
        if kept is None:
            return None
        family = kept.family
        if family.kind != update.kind:
            self._drop("type", model, f"{name} is a {family.kind}, not a {update.kind}")
            return None
        labels = self._labels(family, update.dimensions)
        series = kept.series.get(labels)
        if series is None:
            if not self._may_grow(model, name):
                return None
            series = kept.series[labels] = _Series(model, family)
        return family, series

    def _detected(self, model: str, name: str, update: MetricUpdate) -> _Kept | None:
        """Return a place for a metric that nobody declared."""
        if not self._auto_detect:
            self._drop("undeclared", model, f"{name} is not in metrics_config, and model_metrics_auto_detect is false")
        elif update.kind not in _KINDS:
            self._drop("type", model, f"{name} is of the type {update.kind[:TEXT_CHARACTERS_MAX]}")
        elif name in BY_NAME or not self._taken.isdisjoint(sample_names(name, Kind(update.kind))):
            self._drop("type", model, f"{name} is the name of another metric")
        elif len(self._kept) >= FAMILIES_MAX:
            self._drop("series", model, f"there are {FAMILIES_MAX} metrics already")
        else:
            kind = Kind(update.kind)
            buckets = TORCHSERVE_BUCKETS if kind is Kind.HISTOGRAM else ()
            return self._keep(Family(name, kind, update.unit[:TEXT_CHARACTERS_MAX], (), "", buckets))
        return None

    def _keep(self, family: Family) -> _Kept:
        self._taken.update(sample_names(family.name, family.kind))
        kept = self._kept[family.name] = _Kept(family)
        return kept

    def _may_grow(self, model: str, name: str) -> bool:
        mine = self._series_of_model.get(model, 0)
        if mine >= MODEL_SERIES_MAX or self._series >= SERIES_MAX:
            bound = f"the model has {mine} series of metrics, at most {MODEL_SERIES_MAX} (all models: {SERIES_MAX}) are kept"
            self._drop("series", model, f"{name} would be one more: {bound}; does a dimension hold a request's id?")
            return False
        self._series += 1
        self._series_of_model[model] = mine + 1
        return True

    def _labels(self, family: Family, dimensions: Sequence[tuple[str, str]]) -> str:
        """Return an update's labels; where metrics.yaml names as many dimensions, its names count, as in TorchServe."""
        pairs = dict(dimensions[:DIMENSIONS_MAX])
        pairs.setdefault("Hostname", self._hostname)
        names: Iterable[str] = family.labels if len(family.labels) == len(pairs) else [_label_name(name, family.kind) for name in pairs]
        named = dict(zip(names, [value[:TEXT_CHARACTERS_MAX] for value in pairs.values()], strict=True))
        return label_text(named.keys(), named.values())

    def _drop(self, reason: str, model: str, why: str) -> None:
        self.dropped[reason] += 1
        if reason not in self._said:
            self._said.add(reason)
            _log.warning("a metric of model %s is dropped: %s; more of this kind are only counted", model, why)


def _label_name(name: str, kind: Kind) -> str:
    clean = _NOT_IN_LABELS.sub("_", name[:TEXT_CHARACTERS_MAX]).lstrip("_") or "_"
    clean = f"_{clean}" if clean[0].isdecimal() else clean
    return "le_" if clean == "le" and kind is Kind.HISTOGRAM else clean
