"""What an InferenceService asks for beside its pods: logger, batcher, shadow. Pure.

Called by the check at admission and by the controllers.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from flambeau.control.resources.durations import duration_seconds
from flambeau.control.resources.kind import Finding, Object
from flambeau.control.resources.lookup import find, mapping_at
from flambeau.foundation.errors import InvalidInput
from flambeau.storage.deposit_uri import parse_deposit

SHADOW_ANNOTATION = "flambeau.dev/shadow"
"""``NAME`` or ``NAME=PERCENT``: a revision or an InferenceService of the namespace that gets copies of the predictor's requests."""

LOG_FORMATS = ("json", "csv")
"""What files of a logger can be without a marshaller."""


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
    yield from _check_logger(mapping_at(part, "logger"), f"{path}.logger")
    for field in ("maxBatchSize", "maxLatency", "timeout"):
        value = find(part, "batcher", field)
        if isinstance(value, int) and value < 0:
            yield Finding(f"{path}.batcher.{field}", "must not be negative", value)


def _check_logger(logger: Object, path: str) -> Iterator[Finding]:
    url, interval, size = logger.get("url"), logger.get("batchInterval"), logger.get("batchSize")
    if isinstance(url, str) and url and not is_collector(url) and not is_file_store(url):
        wanted = "an http or https URL without user name and password, or a bucket or folder: s3://, gs://, abfs:// or file://"
        yield Finding(f"{path}.url", f"must be {wanted}", url)
    if isinstance(size, int) and size < 0:
        yield Finding(f"{path}.batchSize", "must not be negative", size)
    if isinstance(interval, str) and interval:
        try:
            duration_seconds(interval)
        except ValueError:
            yield Finding(f"{path}.batchInterval", "must be a duration such as 500ms, 30s or 1m30s", interval)
    folder, form = find(logger, "storage", "path"), find(logger, "storage", "parameters", "format")
    if isinstance(folder, str) and ".." in folder.split("/"):
        yield Finding(f"{path}.storage.path", "must not lead upwards", folder)
    marshaller = logger.get("marshallerUrl")
    if isinstance(marshaller, str) and marshaller and not is_collector(marshaller):
        yield Finding(f"{path}.marshallerUrl", "must be an http or https URL without user name and password", marshaller)
    if form and form not in LOG_FORMATS and not marshaller:
        wanted = f"must be {' or '.join(LOG_FORMATS)}; another form needs a marshallerUrl"
        yield Finding(f"{path}.storage.parameters.format", wanted, form, "FieldValueNotSupported")


def aside_warnings(part: Object, path: str) -> Iterator[str]:
    """Say what of a logger has no effect here."""
    logger = find(part, "logger")
    if not isinstance(logger, dict):
        return
    if not logger.get("url"):
        yield f"{path}.logger: without url, copies go to defaultUrl of inferenceservice-config's logger, if that says one"
    idle = [name for name in ("storage", "batchSize", "batchInterval", "marshallerUrl") if logger.get(name)]
    if idle and is_collector(logger.get("url") or ""):
        verb = "has" if len(idle) == 1 else "have"
        yield f"{path}.logger: {', '.join(idle)} {verb} no effect: each copy goes to url by itself; to keep files, name a bucket there"


def is_file_store(url: str) -> bool:
    """Tell whether copies of requests can be kept as files at a URL."""
    try:
        parse_deposit(url)
    except InvalidInput:
        return False
    return True


def is_collector(url: str) -> bool:
    """Tell whether copies of requests can be sent to a URL."""
    try:
        parts = urlsplit(url)
        is_sendable = parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        return False
    return is_sendable and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
