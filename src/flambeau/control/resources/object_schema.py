"""What a kind carries as its schema: its own fields beside those that all objects have."""

from __future__ import annotations

from collections.abc import Mapping

from flambeau.control.resources.fields.words import STRING, Schema, an_object, explained
from flambeau.control.resources.object_meta import OBJECT_META


def object_schema(own: Mapping[str, Schema], required: tuple[str, ...] = (), *, description: str = "") -> Schema:
    """Return the schema of whole objects of one kind.

    Args:
        own: the schemas of the fields beside apiVersion, kind and metadata.
        required: which of them must be there.
        description: what such an object is, for ``kubectl explain``.
    """
    schema = an_object({"apiVersion": STRING, "kind": STRING, "metadata": OBJECT_META, **own}, required)
    return explained(schema, description) if description else schema
