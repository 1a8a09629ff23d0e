"""Files become objects, and bad ones are told with their place."""

from pathlib import Path

import pytest

from flambeau.cli.manifests import parse_manifests, read_manifests
from flambeau.foundation.errors import InvalidInput, NotFound

HEAD = "apiVersion: v1\nkind: ConfigMap\n"


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
        ("a: &x 1\nb: {<<: *x}\n", r"f.yaml:2: << merges what is no mapping"),
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
