"""What an InferenceService asks for beside its pods: logger, batcher, shadow. Pure.

Called by the check at admission and by the controllers.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from flambeau.control.resources.kind import Finding, Object
from flambeau.control.resources.lookup import find

SHADOW_ANNOTATION = "flambeau.dev/shadow"
"""``NAME`` or ``NAME=PERCENT``: a revision or an InferenceService of the namespace that gets copies of the predictor's requests."""


def shadow_wish(service: Object) -> tuple[str, float] | None:
    """Return (name, percent) of the shadow that is asked for; None if there is none, or one that can't be read."""
    text = find(service, "metadata", "annotations", SHADOW_ANNOTATION)
    if not isinstance(text, str) or not text:
        return None
    name, equals, share = text.partition("=")
    try:
        percent = float(share) if equals else 100.0
    except ValueError:
        return None
    return (name.strip(), percent) if 0 < percent <= 100 and name.strip() else None


def check_shadow(obj: Object) -> Iterator[Finding]:
    """Find what is wrong with the shadow."""
    text = find(obj, "metadata", "annotations", SHADOW_ANNOTATION)
    if text and shadow_wish(obj) is None:
        path = f"metadata.annotations[{SHADOW_ANNOTATION}]"
        yield Finding(path, "must be the name of a revision or InferenceService, or NAME=PERCENT with a percentage above 0", text)


def check_aside(part: Object, path: str) -> Iterator[Finding]:
    """Find what is wrong with a component's logger and batcher."""
    url = find(part, "logger", "url")
    if isinstance(url, str) and url and not is_collector(url):
        yield Finding(f"{path}.logger.url", "must be an http or https URL without user name and password", url)
    for field in ("maxBatchSize", "maxLatency", "timeout"):
        value = find(part, "batcher", field)
        if isinstance(value, int) and value < 0:
            yield Finding(f"{path}.batcher.{field}", "must not be negative", value)


def aside_warnings(part: Object, path: str) -> Iterator[str]:
    """Say what of a logger has no effect here."""
    logger = find(part, "logger")
    if not isinstance(logger, dict):
        return
    if not logger.get("url"):
        yield f"{path}.logger: without url nothing is logged"
    idle = [name for name in ("storage", "marshallerUrl", "batchSize", "batchInterval") if logger.get(name)]
    if idle:
        yield f"{path}.logger: {', '.join(idle)} {'is' if len(idle) == 1 else 'are'} not served here: each copy goes to url by itself"


def is_collector(url: str) -> bool:
    """Tell whether copies of requests can be sent to a URL."""
    try:
        parts = urlsplit(url)
        is_sendable = parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        return False
    return is_sendable and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
