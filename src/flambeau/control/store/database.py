"""The file: tables, one connection, foreign errors stopped. Called by ``sqlite.py``; knows rows, not rules.

One connection with an exclusive lock: a second control plane on the same folder is refused, and the corruption that SQLite before
3.51.3 can suffer when several connections reset one WAL cannot happen. Every commit survives kill -9; one with ``synced`` also survives
loss of power, for which it waits until the disk has it (3 ms and more; a commit alone takes 20 us).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flambeau.control.resources.kind import Key
from flambeau.foundation.errors import Unavailable

_LAYOUT = 1
"""Kept in ``user_version``; grows when the tables change."""

_TABLES = """
CREATE TABLE objects (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL UNIQUE, document BLOB NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) STRICT;
CREATE INDEX objects_by_namespace ON objects (namespace);
CREATE TABLE owners (
    owner_uid TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (owner_uid, kind, namespace, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX owners_by_dependent ON owners (kind, namespace, name);
CREATE TABLE history (
    version INTEGER PRIMARY KEY, change TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, document BLOB NOT NULL, previous BLOB
) STRICT;
CREATE INDEX history_by_kind ON history (kind, version);
"""

_HINTS = {
    "SQLITE_FULL": "the disk is full: free some space",
    "SQLITE_READONLY": "the file or its folder is read-only",
    "SQLITE_CANTOPEN": "check that the folder exists and is yours",
    "SQLITE_NOTADB": "this is not a store of flambeau's: move it away",
    "SQLITE_CORRUPT": "the file is damaged: move it away and apply your objects again",
    "SQLITE_IOERR": "the disk refused: see the system log",
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One change, as kept."""

    version: int
    change: str
    kind: str
    namespace: str
    document: bytes
    previous: bytes | None


class Database:
    """Keep rows in one file.

    Args:
        path: the file; made, readable by its owner only, if it isn't there.

    Raises:
        Unavailable: another process has it, it is no such file, or the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._synced = True
        with self._translated("open it"):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            with self._translated("open it"):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA locking_mode=EXCLUSIVE")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        (found,) = run("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise Unavailable(f"the store {self._path} is of no use: it is damaged ({found})", hint=_HINTS["SQLITE_CORRUPT"])
        run("BEGIN IMMEDIATE")
        try:
            (layout,) = run("PRAGMA user_version").fetchone()
            if layout not in (0, _LAYOUT):
                raise Unavailable(
                    f"cannot use the store {self._path}: its layout is {layout}, this version knows {_LAYOUT}",
                    hint="use the version of flambeau that wrote it",
                )
            if layout == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    run(statement)
                run(f"PRAGMA user_version={_LAYOUT}")
            run("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def close(self) -> None:
        """Write everything into the file itself and let go of it."""
        self._connection.close()

    @contextmanager
    def transaction(self, *, synced: bool) -> Iterator[None]:
        """Commit what the body did, or nothing of it.

        Args:
            synced: wait until the disk has it, and all commits before.

        Raises:
            Unavailable: the disk refused.
        """
        with self._translated("write to it"):
            if synced is not self._synced:
                self._connection.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
                self._synced = synced
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def document(self, key: Key) -> bytes | None:
        """Return the object's document, or None."""
        query = "SELECT document FROM objects WHERE kind = ? AND namespace = ? AND name = ?"
        rows = self._rows(query, *key)
        return bytes(rows[0][0]) if rows else None

    def documents(self, kind: str, namespace: str | None) -> list[bytes]:
        """Return the documents of one kind, by namespace and name."""
        query = "SELECT document FROM objects WHERE kind = ? AND namespace = coalesce(?, namespace) ORDER BY namespace, name"
        return [document for (document,) in self._rows(query, kind, namespace)]

    def documents_of(self, owner_uid: str, kind: str, namespace: str | None) -> list[bytes]:
        """Return the documents of one kind that name this uid as an owner, by namespace and name."""
        query = (
            "SELECT document FROM owners JOIN objects USING (kind, namespace, name)"
            " WHERE owner_uid = ? AND kind = ? AND namespace = coalesce(?, namespace) ORDER BY namespace, name"
        )
        return [document for (document,) in self._rows(query, owner_uid, kind, namespace)]

    def count(self, kind: str, namespace: str) -> int:
        """Return how many objects of a kind a namespace contains."""
        (number,) = self._rows("SELECT count(*) FROM objects WHERE kind = ? AND namespace = ?", kind, namespace)[0]
        return int(number)

    def keys_in(self, namespace: str) -> list[Key]:
        """Return what a namespace contains."""
        return [Key(*row) for row in self._rows("SELECT kind, namespace, name FROM objects WHERE namespace = ?", namespace)]

    def is_empty(self, namespace: str) -> bool:
        """Tell whether a namespace contains nothing."""
        return not self._rows("SELECT 1 FROM objects WHERE namespace = ? LIMIT 1", namespace)

    def has_uid(self, uid: str) -> bool:
        """Tell whether some object has this uid."""
        return bool(self._rows("SELECT 1 FROM objects WHERE uid = ?", uid))

    def dependents(self, uid: str) -> list[Key]:
        """Return the objects that name this uid as an owner."""
        return [Key(*row) for row in self._rows("SELECT kind, namespace, name FROM owners WHERE owner_uid = ?", uid)]

    def put(self, key: Key, uid: str, document: bytes, owner_uids: set[str]) -> None:
        """Write an object and who owns it."""
        run = self._connection.execute
        run(
            "INSERT INTO objects VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, namespace, name) DO UPDATE SET document = excluded.document",
            (*key, uid, document),
        )
        run("DELETE FROM owners WHERE kind = ? AND namespace = ? AND name = ?", key)
        for owner_uid in owner_uids:
            run("INSERT INTO owners VALUES (?, ?, ?, ?)", (owner_uid, *key))

    def remove(self, key: Key) -> None:
        """Take an object out."""
        self._connection.execute("DELETE FROM objects WHERE kind = ? AND namespace = ? AND name = ?", key)
        self._connection.execute("DELETE FROM owners WHERE kind = ? AND namespace = ? AND name = ?", key)

    def record(self, recorded: Recorded) -> None:
        """Append a change to the history."""
        row = (recorded.version, recorded.change, recorded.kind, recorded.namespace, recorded.document, recorded.previous)
        self._connection.execute("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)", row)

    def forget_until(self, version: int) -> None:
        """Drop the history up to and including a version."""
        self._connection.execute("DELETE FROM history WHERE version <= ?", (version,))

    def newest_version(self) -> int | None:
        """Return the version of the newest change, or None where nothing was ever written."""
        (version,) = self._rows("SELECT max(version) FROM history")[0]
        return None if version is None else int(version)

    def oldest_version(self) -> int | None:
        """Return the version of the oldest change kept."""
        (version,) = self._rows("SELECT min(version) FROM history")[0]
        return None if version is None else int(version)

    def changes(self, kind: str, namespace: str | None, since: int) -> list[Recorded]:
        """Return the changes after a version, in order."""
        query = (
            "SELECT version, change, kind, namespace, document, previous FROM history"
            " WHERE kind = ? AND version > ? AND namespace = coalesce(?, namespace) ORDER BY version"
        )
        return [Recorded(*row) for row in self._rows(query, kind, since, namespace)]

    def _rows(self, query: str, *values: str | int | None) -> list[Any]:
        with self._translated("read it"):
            return self._connection.execute(query, values).fetchall()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Say SQLite's and the system's errors in ours."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise Unavailable(
                    f"cannot open the store {self._path}: another control plane uses it",
                    hint="stop the other `flambeau up`, or give this one another --home",
                ) from error
            hint = next((text for prefix, text in _HINTS.items() if name.startswith(prefix)), None)
            raise Unavailable(f"the store {self._path} is of no use: cannot {doing}: {error}", hint=hint) from error
        except OSError as error:
            raise Unavailable(f"the store {self._path} is of no use: cannot {doing}: {error.strerror}") from error
