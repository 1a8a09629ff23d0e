"""What the documents show is what there is."""

from __future__ import annotations

import re

from tests.system.deploy import EXAMPLE
from tests.system.harness import ROOT


def test_the_readmes_yaml_is_the_examples() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    files = [path.read_text() for path in sorted((EXAMPLE / "kubernetes").glob("*.yaml"))]
    assert blocks
    assert all(block in files for block in blocks)


def test_every_file_the_documents_name_is_there() -> None:
    for document in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} names {target}"
        for path in re.findall(r"examples/[\w./-]+\.(?:py|yaml|json)", document.read_text()):
            assert (ROOT / path).exists(), f"{document.name} names {path}"
