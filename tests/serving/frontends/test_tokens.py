from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from flambeau.foundation.errors import Denied, InvalidInput, Unavailable
from flambeau.serving.frontends.routes import Page, Plane
from flambeau.serving.frontends.tokens import KeySettings, Tokens

INFERENCE, MANAGEMENT = frozenset({Plane.INFERENCE}), frozenset({Plane.MANAGEMENT})


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Tokens:
    made = Tokens(KeySettings(file=tmp_path / "key_file.json", lifetime_seconds=60), clock)
    made.start()
    return made


def keys(tmp_path: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((tmp_path / "key_file.json").read_bytes())
    return found


def bearer(entry: dict[str, str]) -> bytes:
    return f"Bearer {entry['key']}".encode()


def test_the_file_is_torchserves_and_the_owners_alone(tmp_path: Path, tokens: Tokens) -> None:
    assert stat.S_IMODE((tmp_path / "key_file.json").stat().st_mode) == 0o600
    found = keys(tmp_path)
    assert list(found) == ["management", "inference", "API"]
    assert found["inference"]["expiration time"] == "1970-01-12T13:47:40.000000000Z"
    assert list(found["API"]) == ["key"]
    assert len({entry["key"] for entry in found.values()}) == 3
    tokens.close()
    assert not (tmp_path / "key_file.json").exists()


def test_each_key_opens_its_plane(tmp_path: Path, tokens: Tokens) -> None:
    found = keys(tmp_path)
    tokens.check(INFERENCE, bearer(found["inference"]))
    tokens.check(MANAGEMENT, bearer(found["management"]))
    tokens.check(INFERENCE | MANAGEMENT, bearer(found["management"]))
    for planes, name in ((INFERENCE, "management"), (MANAGEMENT, "inference"), (INFERENCE | MANAGEMENT, "API"), (frozenset(), "inference")):
        with pytest.raises(Denied, match=r"^Token Authorization failed\. Token either incorrect, expired, or not provided correctly$"):
            tokens.check(planes, bearer(found[name]))


@pytest.mark.parametrize("form", ["{}", "bearer {}", "Bearer{}", "Bearer {} x", "Basic {}", "Bearer x{}", ""])
def test_the_header_has_one_form(tmp_path: Path, tokens: Tokens, form: str) -> None:
    presented = form.format(keys(tmp_path)["inference"]["key"]).encode()
    assert not tokens.opens(INFERENCE, presented)
    assert not tokens.opens(INFERENCE, None)


def test_keys_expire_and_are_renewed(tmp_path: Path, tokens: Tokens, clock: Clock) -> None:
    before = keys(tmp_path)
    clock.now += 60
    assert not tokens.opens(INFERENCE, bearer(before["inference"]))
    entry = tokens.renew("inference", bearer(before["API"]))
    assert keys(tmp_path)["inference"] == entry
    assert keys(tmp_path)["management"] == before["management"]
    assert tokens.opens(INFERENCE, bearer(entry))
    assert not tokens.opens(INFERENCE, bearer(before["inference"]))
    for kind, key in (("API", "API"), ("", "API"), ("inference", "inference"), ("management", "management")):
        with pytest.raises(Denied, match="Token Authentication failed"):
            tokens.renew(kind, bearer(keys(tmp_path)[key]))


def test_given_keys_neither_expire_nor_change_nor_touch_a_file(tmp_path: Path, clock: Clock) -> None:
    given = {"inference": "one", "management": "two", "API": "three"}
    tokens = Tokens(KeySettings(given, tmp_path / "key_file.json"), clock)
    tokens.start()
    clock.now += 1e9
    assert tokens.opens(INFERENCE, b"Bearer one")
    assert tokens.opens(MANAGEMENT, b"Bearer two")
    with pytest.raises(InvalidInput, match="given from outside"):
        tokens.renew("inference", b"Bearer three")
    tokens.close()
    assert not list(tmp_path.iterdir())
    assert "one" not in repr(KeySettings(given))


def test_a_folder_that_cannot_be_written_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="FLAMBEAU_INFERENCE_KEY"):
        Tokens(KeySettings(file=tmp_path / "nowhere" / "key_file.json")).start()


def test_the_file_of_another_server_is_left(tmp_path: Path, tokens: Tokens) -> None:
    other = Tokens(KeySettings(file=tmp_path / "key_file.json"))
    other.start()
    tokens.close()
    assert (tmp_path / "key_file.json").exists()


def test_only_what_tells_nothing_needs_no_key() -> None:
    open_pages = {page for page in Page if not Tokens.are_needed_for(page, "GET")}
    assert open_pages == {Page.LIVE, Page.READY, Page.API_DESCRIPTION, Page.METRICS, Page.TOKEN}
    assert not Tokens.are_needed_for(Page.ROOT, "OPTIONS")
