"""One kind as it stands, kept by the store's changes: who looks often pays for changes, not for looking."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flambeau.control.resources.kind import Key, Kind, Object
from flambeau.control.store.follow import follow
from flambeau.control.store.interface import Change, Store
from flambeau.foundation.clock import Clock


class Mirror:
    """Know all objects of a kind.

    Args:
        store: where they are.
        kind: whose.
        clock: for the pause before a store that refused is asked again.
        heard: called with the key of each object that is new, changed or gone, when ``objects`` says so already.
    """

    def __init__(self, store: Store, kind: Kind, clock: Clock, heard: Callable[[Key], None]) -> None:
        self.kind = kind
        self._store = store
        self._clock = clock
        self._heard = heard
        self._objects: dict[Key, Object] = {}

    @property
    def objects(self) -> Mapping[Key, Object]:
        """What there is, as of the last change that was heard; not to be changed."""
        return self._objects

    async def run(self) -> None:
        """Follow the kind, for ever."""
        self._objects.clear()
        async for event in follow(self._store, self.kind.id, clock=self._clock):
            key = self.kind.key(event.object)
            if event.change is Change.DELETED:
                self._objects.pop(key, None)
            else:
                self._objects[key] = event.object
            self._heard(key)
