"""Who owns an object, in the words of ``metadata.ownerReferences``. Pure."""

from __future__ import annotations

from flambeau.control.resources.kind import Object


def controlled_by(owner: Object) -> Object:
    """Return the reference of an object to the one that controls it: it goes when that goes."""
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
