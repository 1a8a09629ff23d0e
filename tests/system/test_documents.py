"""What the documents show is what there is: their files exist, their YAML is the examples', and the README's commands say what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.fixtures.s3 import S3Server
from tests.system.deploy import EXAMPLE, Model, secret
from tests.system.harness import ROOT, Platform

README = (ROOT / "README.md").read_text()
SECRET = "examples/mnist/kubernetes/s3-secret.yaml"
ON_PLATFORM = ("kubectl create", "kubectl apply", "kubectl wait", "kubectl get", "curl ")


def test_the_readmes_yaml_is_the_examples() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    files = [path.read_text() for path in sorted((EXAMPLE / "kubernetes").glob("*.yaml"))]
    assert blocks
    assert all(block in files for block in blocks)


def test_every_file_the_documents_name_is_there() -> None:
    for document in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} names {target}"
        for path in re.findall(r"examples/[\w./-]+\.(?:py|yaml|json)", document.read_text()):
            assert (ROOT / path).exists(), f"{document.name} names {path}"


def test_each_promise_has_its_test() -> None:
    named = re.findall(r"`([\w/]+\.py)((?:::\w+)+)`", (ROOT / "docs" / "promises.md").read_text())
    assert len(named) > 50
    for file, names in named:
        source = (ROOT / "tests" / file).read_text()
        for name in names.split("::")[1:]:
            assert re.search(rf"(def|class) {name}\b", source), f"docs/promises.md names {file}{names}"


def test_the_readmes_commands_say_what_it_shows(platform: Platform, bucket: S3Server, model: Model) -> None:
    seen = 0
    for command, shown in readme_commands():
        if not command.startswith(ON_PLATFORM):
            continue
        if SECRET in command:  # the same Secret, for the server of the tests
            said = platform.kubectl("apply", "-f", "-", stdin=secret(bucket)).stdout
        else:
            here = command.replace(":8000", f":{platform.gateway_port}").replace("@mnist.json", f"@{EXAMPLE / 'mnist.json'}")
            said = platform.run("bash", "-c", f"cd {ROOT} && {here}").stdout
        assert plain(said) == plain(shown.replace(":8000", f":{platform.gateway_port}")), command
        seen += 1
    assert seen >= 9


def readme_commands() -> Iterator[tuple[str, str]]:
    """Yield each command of the README's console blocks with the output shown below it."""
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL):
        for part in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            yield command.strip(), shown


def plain(text: str) -> list[list[str]]:
    """Return the words of each line, without what is new each time: hashes and ages."""
    text = re.sub(r"deployment-[a-z0-9]{10}-[a-z0-9]{5}", "deployment-HASH", text)
    return [[re.sub(r"^\d+(s|m\d*s?)$", "AGE", word) for word in line.split()] for line in text.strip().splitlines()]
