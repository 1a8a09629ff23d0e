"""Which server a command talks to."""

from pathlib import Path

import pytest

from flambeau.cli.kubeconfig import load_connection
from flambeau.foundation.errors import InvalidInput, NotFound

CONFIG = """
apiVersion: v1
kind: Config
current-context: {current}
contexts:
- name: one
  context: {{cluster: c, user: u, namespace: torchserve}}
- name: two
  context: {{cluster: c, user: nobody}}
clusters:
- name: c
  cluster: {{server: "https://127.0.0.1:7443/"}}
users:
- name: u
  user: {{token: very-secret}}
"""


def _write(path: Path, current: str = "one") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIG.format(current=current))
    return path


def test_the_current_context_is_taken_and_its_token_never_prints(tmp_path: Path) -> None:
    connection = load_connection(kubeconfig=_write(tmp_path / "k"))
    assert (connection.server, connection.namespace, connection.token) == ("https://127.0.0.1:7443", "torchserve", "very-secret")
    assert "very-secret" not in repr(connection)


def test_a_named_context_wins(tmp_path: Path) -> None:
    connection = load_connection(kubeconfig=_write(tmp_path / "k"), context="two")
    assert (connection.namespace, connection.token) == ("default", None)


def test_the_platforms_own_file_comes_before_kubes(tmp_path: Path) -> None:
    _write(tmp_path / ".kube" / "config", current="two")
    environment = {"HOME": str(tmp_path)}
    assert load_connection(environment=environment).namespace == "default"
    _write(tmp_path / ".flambeau" / "kubeconfig")
    assert load_connection(environment=environment).namespace == "torchserve"
    environment["KUBECONFIG"] = str(tmp_path / ".kube" / "config")
    assert load_connection(environment=environment).namespace == "default"


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="flambeau up"):
        load_connection(environment={"HOME": str(tmp_path)})
    with pytest.raises(NotFound, match="there is: one, two"):
        load_connection(kubeconfig=_write(tmp_path / "k"), context="three")
    (tmp_path / "broken").write_text("{")
    with pytest.raises(InvalidInput, match="cannot read kubeconfig"):
        load_connection(kubeconfig=tmp_path / "broken")
