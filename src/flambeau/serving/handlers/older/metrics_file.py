"""A handler's metrics with the declarations of a metrics.yaml, for users' tests; in a server the declarations come with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from flambeau.serving.handlers.metrics import CachingMetric, HandlerMetrics, MetricsCacheIOError, MetricsCachePyYamlError, MetricTypes


class _KindOfCache(type):
    """Count every handler's metrics as an instance: handlers ask whether ``context.metrics`` is one."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, HandlerMetrics)


class MetricsCacheYamlImpl(HandlerMetrics, metaclass=_KindOfCache):
    """Keep what a handler measures; ``initialize_cache`` declares what the file lists under ``model_metrics``.

    Args:
        config_file_path: a metrics.yaml.

    Raises:
        MetricsCacheIOError: it can't be read.
        MetricsCachePyYamlError: it is not YAML, or lists no model_metrics.
    """

    def __init__(self, config_file_path: str | Path) -> None:
        super().__init__("")
        try:
            document = yaml.safe_load(Path(config_file_path).read_bytes())
        except OSError as error:
            raise MetricsCacheIOError(f"cannot read {config_file_path}: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise MetricsCachePyYamlError(f"{config_file_path} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(document, dict) or not isinstance(document.get("model_metrics"), dict):
            raise MetricsCachePyYamlError(f"{config_file_path} has no model_metrics")
        self._listed: dict[str, list[dict[str, Any]]] = document["model_metrics"]

    @property
    def cache(self) -> dict[MetricTypes, dict[str, CachingMetric]]:
        """The declared metrics, by type and name."""
        return self._declared

    def cache_keys(self) -> list[str]:
        """Return the declared metrics' types and names: ``counter:Hits``."""
        return [f"{kind.value}:{name}" for kind, metrics in self._declared.items() for name in metrics]

    def initialize_cache(self) -> None:
        """Declare the file's metrics."""
        for kind, metrics in self._listed.items():
            for metric in metrics or ():
                self.add_metric_to_cache(metric["name"], metric["unit"], metric.get("dimensions"), MetricTypes(kind))
