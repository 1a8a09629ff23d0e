"""What a benchmark asks: where, with which bodies, in which form. Pure but for reading the files of ``bodies_of``."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import orjson

from flambeau.foundation import server_timing
from flambeau.foundation.errors import InvalidInput, NotFound, TooLarge

BODY_BYTES_MAX = 1 << 28
"""Of all files together: each is held once."""
FILES_MAX = 1_000
_OWN_HEADERS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", server_timing.ASK})
_MODEL = re.compile(r"/(?:v[12]/models|predictions|explanations)/([^/:]+)")


class Form(StrEnum):
    """What a body is, and so which of a model's paths takes it."""

    V1 = "V1"
    V2 = "V2"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body."""

    name: str
    """The file's."""
    data: bytes
    content_type: str
    form: Form


@dataclass(frozen=True, slots=True)
class Question:
    """Requests that differ only in their bodies.

    Args:
        url: where they go.
        bodies: sent in turn.
        headers: sent with each.
        address: host and port to connect to, where they are not the URL's.
    """

    url: str
    bodies: tuple[Body, ...]
    headers: tuple[tuple[str, str], ...] = ()
    address: tuple[str, int] | None = None

    @property
    def secure(self) -> bool:
        """Whether it is asked over TLS."""
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        """The URL's host, without its port."""
        return urlsplit(self.url).hostname or ""

    @property
    def place(self) -> tuple[str, int]:
        """Host and port to connect to; names below ``localhost`` are this machine, whatever its resolver knows (RFC 6761)."""
        if self.address is not None:
            return self.address
        host = self.host
        port = urlsplit(self.url).port or (443 if self.secure else 80)
        return ("127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host), port

    def messages(self, *, timed: bool) -> list[bytes]:
        """Return the bytes of each request.

        Args:
            timed: ask where the time goes.
        """
        url = urlsplit(self.url)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = [*self.headers, *([(server_timing.ASK, "1")] if timed else [])]
        made = []
        for body in self.bodies:
            lines = [f"POST {target} HTTP/1.1", f"Host: {url.netloc.rpartition('@')[2]}", f"Content-Type: {body.content_type}"]
            lines += [f"Content-Length: {len(body.data)}", *(f"{name}: {value}" for name, value in headers)]
            made.append("\r\n".join([*lines, "", ""]).encode("latin-1") + body.data)
        return made

    def of_model(self, name: str) -> Question:
        """Return the same question to another model of the same server."""
        url = urlsplit(self.url)
        found = _MODEL.match(url.path)
        assert found is not None, "only a URL that names a model is asked about another"
        return replace(self, url=url._replace(path=url.path[: found.start(1)] + quote(name, safe="") + url.path[found.end(1) :]).geturl())


def bodies_of(files: Sequence[Path], content_type: str | None) -> tuple[Body, ...]:
    """Read the files that are sent.

    Args:
        files: one body each.
        content_type: of all; None: by what the bodies are and how the files are called.

    Raises:
        NotFound: a file is not there.
        TooLarge: they are over BODY_BYTES_MAX together, or more than FILES_MAX.
    """
    if len(files) > FILES_MAX:
        raise TooLarge(f"{len(files)} files are more than {FILES_MAX}, the most that are sent in turn")
    bodies, left = [], BODY_BYTES_MAX
    for path in files:
        try:
            with path.expanduser().open("rb") as file:
                data = file.read(left + 1)
        except OSError as error:
            raise NotFound(f"cannot read {path}: {error.strerror}", hint="--data names a file with the body of a request") from error
        left -= len(data)
        if left < 0:
            raise TooLarge(f"the files of --data have over {BODY_BYTES_MAX} bytes together")
        form = form_of(data)
        guessed = "application/json" if form is not Form.RAW else mimetypes.guess_type(path.name)[0]
        bodies.append(Body(path.name, data, content_type or guessed or "application/octet-stream", form))
    return tuple(bodies)


def form_of(data: bytes) -> Form:
    """Return what a body is: JSON of KServe's V1 or V2, or anything else."""
    if data.lstrip()[:1] != b"{":
        return Form.RAW
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return Form.RAW
    if isinstance(found.get("instances"), list):
        return Form.V1
    inputs = found.get("inputs")
    if isinstance(inputs, list) and inputs and all(isinstance(each, dict) and "datatype" in each for each in inputs):
        return Form.V2
    return Form.RAW


def path_of(model: str, form: Form) -> str:
    """Return the path of a model that takes a form."""
    name = quote(model, safe="")
    return {Form.V1: f"/v1/models/{name}:predict", Form.V2: f"/v2/models/{name}/infer", Form.RAW: f"/predictions/{name}"}[form]


def model_of(url: str) -> str | None:
    """Return the model that a URL's path names; None if it names none."""
    found = _MODEL.match(urlsplit(url).path)
    return unquote(found[1]) if found else None


def checked_url(text: str) -> str:
    """Return a URL that can be asked.

    Raises:
        InvalidInput: it cannot be.
    """
    url = urlsplit(text)
    try:
        port = url.port
    except ValueError:
        port = -1
    if url.scheme not in ("http", "https") or not url.hostname or port == -1 or any(ord(letter) <= 32 for letter in text):
        raise InvalidInput(f"cannot ask {text!r}: it is no URL", hint="for example http://127.0.0.1:8080/predictions/mnist")
    if url.username is not None:
        raise InvalidInput("cannot ask a URL with a user's name in it: reports show it", hint='use --header "Authorization: ..."')
    return text


def headers_of(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return headers written as ``Name: value``.

    Raises:
        InvalidInput: one is not, or is one that this client writes itself. The value is not told: it may be a key.
    """
    found = []
    for text in texts:
        name, colon, value = text.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not name or not name.replace("-", "").replace("_", "").isalnum() or any(letter in value for letter in "\r\n\0"):
            raise InvalidInput(f"--header {name[:40]!r} is no header", hint='write it as --header "Authorization: Bearer KEY"')
        if name.lower() in _OWN_HEADERS:
            raise InvalidInput(f"--header {name}: this client writes it itself", hint="--content-type sets the content type")
        found.append((name, value))
    return tuple(found)
