"""``multipart/form-data``: the parts of a body, bounded.

``protocol.torchserve`` reads forms; a workflow writes one where a node has several parents. Nested multiparts and transfer encodings are
not undone: browsers and curl send neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flambeau.foundation.errors import InvalidInput, TooLarge

PARTS_MAX = 256
"""Parts of one body."""
PART_HEAD_BYTES_MAX = 8192
"""Header bytes of one part."""
BOUNDARY_CHARS_MAX = 200
"""RFC 2046 allows 70; some libraries send more."""

_PARAMETER = re.compile(r';\s*([a-zA-Z0-9_*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form."""

    name: str
    content_type: str
    """The part's media type without parameters; empty for a text field."""
    content: bytes


def parameter_of(header: str, name: str) -> str | None:
    """Return a parameter of a header such as ``form-data; name="x"``, or None."""
    for key, quoted, bare in _PARAMETER.findall(header):
        if key.lower() == name:
            return re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
    return None


def split_parts(body: bytes, content_type: str) -> list[Part]:
    """Return a form's parts in their order.

    Raises:
        InvalidInput: no boundary, no closing boundary, or a part without a name.
        TooLarge: more parts or header bytes than allowed.
    """
    boundary = parameter_of(content_type, "boundary")
    if not boundary or len(boundary) > BOUNDARY_CHARS_MAX:
        raise InvalidInput("the multipart body cannot be read: its content type gives no usable boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1", errors="replace")
    # A body may begin with the delimiter itself; the line break before it makes the first one look like the others.
    pieces = (b"\r\n" + body).split(delimiter, PARTS_MAX + 1)
    if len(pieces) > PARTS_MAX + 1 and not pieces[-1].startswith(b"--"):
        raise TooLarge(f"the multipart body has more than {PARTS_MAX} parts")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise InvalidInput("the multipart body is cut off: its closing boundary is missing")
    return [_part_of(piece, index) for index, piece in enumerate(pieces[1:-1])]


def join_parts(parts: Mapping[str, bytes], boundary: str) -> tuple[bytes, str]:
    """Return a form that :func:`split_parts` reads, and its content type.

    Args:
        parts: content by name; a name has no quotes and no line breaks.
        boundary: a text that no content holds.
    """
    pieces = []
    for name, content in parts.items():
        pieces.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode())
        pieces.append(content)
        pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f'multipart/form-data; boundary="{boundary}"'


def _part_of(piece: bytes, index: int) -> Part:
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not separator:
        raise InvalidInput(f"part {index} of the multipart body has no end of its header")
    if len(head) > PART_HEAD_BYTES_MAX:
        raise TooLarge(f"the header of part {index} of the multipart body is over {PART_HEAD_BYTES_MAX} bytes")
    fields: dict[str, str] = {}
    for line in head.decode("utf-8", errors="replace").split("\r\n"):
        key, _, value = line.partition(":")
        fields[key.strip().lower()] = value.strip()
    disposition = fields.get("content-disposition", "")
    name = parameter_of(disposition, "name")
    if name is None:
        raise InvalidInput(f"part {index} of the multipart body has no name")
    is_file = parameter_of(disposition, "filename") is not None
    given = fields.get("content-type", "application/octet-stream") if is_file else ""  # only files have one, as in TorchServe
    return Part(name=name, content_type=given.split(";", 1)[0].strip(), content=content)
