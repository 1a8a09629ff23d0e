"""YAML is read as kubectl reads it, and bad files are told with their place."""

from pathlib import Path
from typing import Any

import pytest

from flambeau.cli.manifests import parse_manifests, read_manifests
from flambeau.foundation.errors import InvalidInput, NotFound

HEAD = "apiVersion: v1\nkind: ConfigMap\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("off", False),
        ("n", False),
        ("~", None),
        ("", None),
        ("012", 10),
        ("0o14", 12),
        ("0x1f", 31),
        ("1e3", 1000),
        ("1.5", 1.5),
        ("1.0", 1.0),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("-7", -7),
        ('"yes"', "yes"),
        ("'012'", "012"),
        ("127.0.0.1:9000", "127.0.0.1:9000"),
    ],
)
def test_scalars_mean_what_kubectl_says(text: str, value: Any) -> None:
    read = parse_manifests(f"{HEAD}data: {text}\n", "f.yaml")[0]["data"]
    assert read == value
    assert type(read) is type(value)


def test_lists_and_documents_are_taken_apart() -> None:
    text = f"{HEAD}---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n---\n"
    assert [obj["kind"] for obj in parse_manifests(text, "f.yaml")] == ["ConfigMap", "Secret"]


def test_a_duplicate_key_is_refused_with_both_places() -> None:
    with pytest.raises(InvalidInput, match=r"f.yaml:5: the key 'name' stands twice \(first on line 4\)"):
        parse_manifests(f"{HEAD}metadata:\n  name: a\n  name: b\n", "f.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", r"f.yaml:\d+:\d+: not YAML"),
        ("just text", "needs apiVersion and kind"),
        ("a: &x 1\nb: {<<: *x}\n", "only plain keys"),
        ("[" * 200 + "]" * 200, "nested more than 100 deep"),
    ],
)
def test_what_is_not_an_object_says_where(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_manifests(text, "f.yaml")


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(f"{HEAD}metadata: {{name: b}}\n")
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}')
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert [obj["metadata"]["name"] for obj in read_manifests([str(tmp_path)])] == ["a", "b"]
    with pytest.raises(NotFound, match="does not exist"):
        read_manifests([str(tmp_path / "absent.yaml")])
