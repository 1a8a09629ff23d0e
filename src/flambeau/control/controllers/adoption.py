"""Take over what an owner of the same name left behind: its deletion with ``--cascade=orphan`` let everything run on."""

from __future__ import annotations

from flambeau.control.controllers.names import REVISIONS
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.owners import controlled_by
from flambeau.control.store.interface import Store, modify


def is_orphan(obj: Object) -> bool:
    """Tell whether nobody owns an object."""
    return not obj["metadata"].get("ownerReferences")


async def adopt_revisions(store: Store, owner: Object, label: str) -> list[Object]:
    """Give the revisions that nobody owns, and whose label names an owner, to that owner; return them.

    Raises:
        NotFound: one has just gone.
        Conflict: somebody else writes one all the time.
    """
    metadata, reference = owner["metadata"], controlled_by(owner)

    def take(revision: Object) -> None:
        if is_orphan(revision):
            revision["metadata"]["ownerReferences"] = [reference]

    listing = await store.list(REVISIONS, metadata["namespace"])
    found = [each for each in listing.items if is_orphan(each) and (each["metadata"].get("labels") or {}).get(label) == metadata["name"]]
    return [await modify(store, Key(REVISIONS, metadata["namespace"], each["metadata"]["name"]), take) for each in found]
