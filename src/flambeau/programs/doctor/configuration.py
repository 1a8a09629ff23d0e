"""What doctor says about a config.properties. Pure: text in, findings out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.doctor.findings import Finding, Level, Row
from flambeau.programs.settings.access import OPEN_VARIABLE
from flambeau.programs.settings.keys import KEYS, likely_meant
from flambeau.programs.settings.models import models_from_list, models_from_snapshot
from flambeau.programs.settings.properties import PropertiesFile, parse_properties
from flambeau.programs.settings.sources import Value, key_is_secret

_VARIABLE = re.compile(r"\$\$([A-Za-z_][A-Za-z0-9_]*)\$\$")
_WITHOUT_EFFECT = "no effect"
"""Beginnings of a key's note that say that it does nothing here."""
_PLUGINS = "plug-ins are Java and are not loaded; `/ping` and SageMaker's routes are built in"
_KSERVE = ("kserve", "kservev2")
_ADDRESSES = ("inference_address", "management_address", "metrics_address")
_NUMBERS = ("integer", "number")


@dataclass(frozen=True, slots=True)
class Configured:
    """What a config.properties asks of the archives beside it."""

    archives: tuple[str, ...] = ()
    """File names in the model store that are loaded at the start."""
    installs_requirements: bool = False
    default_handler: str | None = None

    def and_also(self, other: Configured) -> Configured:
        """Return what this file and another one ask for."""
        return Configured(
            (*self.archives, *other.archives),
            self.installs_requirements or other.installs_requirements,
            other.default_handler or self.default_handler,
        )


def examine_configuration(
    text: str, name: str, environment: Mapping[str, str], in_store: Collection[str]
) -> tuple[list[Finding], Configured]:
    """Return what is to be said about a file, and what it asks of archives.

    Args:
        text: its content.
        name: how it is called in findings.
        environment: fills in ``$$NAME$$``.
        in_store: archives found anywhere in the set-up.
    """
    missing = sorted(set(_VARIABLE.findall(text)) - environment.keys())
    findings = []
    if missing:
        findings.append(
            Finding(Level.ADVICE, name, f"needs variables that are not set here: {', '.join(missing)}", "set them where it runs")
        )
    try:
        file = parse_properties(text, {**environment, **{each: f"$${each}$$" for each in missing}}, file=name)
    except InvalidInput as error:
        return [*findings, Finding(Level.CHANGE, name, error.message, error.hint or "")], Configured()
    findings += [_of_warning(warning, name) for warning in file.warnings]
    for entry in file.entries.values():
        findings += _of_key(Value(entry.key, entry.value, f"{name} line {entry.line}"), filled_in=bool(missing))
    findings += _of_doors(file, name)
    configured, of_models = _models(file, name, in_store)
    odd = {finding.place for finding in (*findings, *of_models) if finding.level in (Level.CHANGE, Level.DIFFERS)} - {name}
    plain = len(file.entries) - len(odd)
    findings.append(Finding(Level.UNCHANGED, name, f"{plain} of {len(file.entries)} settings mean what they meant"))
    return [*findings, *of_models], configured


def _of_warning(warning: str, name: str) -> Finding:
    place, _, text = warning.partition(": ")
    row = Row.REMARKS if "remark" in text else None
    return Finding(Level.DIFFERS, place if row or place.startswith(name) else name, text, row=row)


def _of_key(value: Value, *, filled_in: bool) -> list[Finding]:
    key = KEYS.get(value.key)
    if key is None:
        meant = likely_meant(value.key, KEYS)
        text = f"{value.key} is no setting, here or in TorchServe{meant}"
        hint = "correct it" if meant else "remove it"
        return [Finding(Level.CHANGE if meant else Level.ADVICE, value.source, text, hint, Row.UNKNOWN_KEY)]
    if value.key == "plugins_path":
        return [
            Finding(Level.CHANGE, value.source, _PLUGINS, "remove it; what another one did belongs in a handler or a proxy", Row.PLUGINS)
        ]
    if value.key == "service_envelope" and value.text.strip() in _KSERVE:
        text = "service_envelope: V1 and V2 are served beside TorchServe's own routes without it"
        return [Finding(Level.ADVICE, value.source, text, "remove it, unless clients send that form to /predictions", Row.PROTOCOLS)]
    if key.note.startswith(_WITHOUT_EFFECT) and value.text.strip() != key.default:
        return [Finding(Level.DIFFERS, value.source, f"{value.key}: {key.note}", "it may stay", Row.WITHOUT_EFFECT)]
    if key.kind in _NUMBERS and not filled_in and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value.text.strip()):
        shown = "its value" if key_is_secret(value.key) else f'"{value.text}"'
        return [Finding(Level.CHANGE, value.source, f"{value.key}: {shown} is no number", "write a number")]
    return []


def _of_doors(file: PropertiesFile, name: str) -> list[Finding]:
    shown = {key: file.entries[key].value if key in file.entries else KEYS[key].default for key in _ADDRESSES}
    ports = ", ".join(f"{key.removesuffix('_address')} {address}" for key, address in shown.items())
    grpc = {side: _text(file, f"grpc_{side}_port") for side in ("inference", "management")}
    findings = [Finding(Level.UNCHANGED, name, f"doors: {ports}, gRPC {grpc['inference']} and {grpc['management']}")]
    if shown["inference_address"] == shown["management_address"]:
        text = "inference and management share an address: /models/NAME/VERSION works there too"
        findings.append(Finding(Level.DIFFERS, name, text, row=Row.SHARED_ADDRESS))
    open_to_all = [key for key in ("management_address", "metrics_address") if _is_public(shown[key])]
    keys_off = _text(file, "disable_token_authorization").lower() == "true"
    if "management_address" in open_to_all and keys_off:
        text = "management is open to the network without keys"
        hint = "bind management_address to 127.0.0.1, or leave the keys on"
        if _text(file, "enable_model_api").lower() == "true":
            hint += f"; outside a container it starts only with {OPEN_VARIABLE}=true"
        findings.append(Finding(Level.ADVICE, name, text, hint))
    if not keys_off:
        text = "requests need a key, as in TorchServe 0.12: key_file.json has those that the server makes"
        hint = "in a container give them: FLAMBEAU_INFERENCE_KEY and FLAMBEAU_MANAGEMENT_KEY, or FLAMBEAU_KEYS_FILE"
        findings.append(Finding(Level.UNCHANGED, name, text, hint))
    return findings


def _models(file: PropertiesFile, name: str, in_store: Collection[str]) -> tuple[Configured, list[Finding]]:
    findings: list[Finding] = []
    listed: list[str] = []
    key = "model_snapshot" if "model_snapshot" in file.entries else "load_models"
    if key in file.entries:
        value = Value(key, file.entries[key].value, f"{name} line {file.entries[key].line}")
        try:
            if key == "model_snapshot":
                models, warnings = models_from_snapshot(value)
                findings += [Finding(Level.ADVICE, value.source, warning) for warning in warnings]
            else:
                models = models_from_list(value, in_store=sorted(in_store))
        except InvalidInput as error:
            return Configured(), [Finding(Level.CHANGE, value.source, error.message, error.hint or "")]
        listed = [model.archive for model in models]
        for archive in listed:
            if "://" not in archive and PurePosixPath(archive).name not in in_store:
                text = f"{key} names {archive}, which is not in this set-up"
                findings.append(Finding(Level.ADVICE, value.source, text, "it must be in the model store when the server starts"))
    handler = _text(file, "default_service_handler") or None
    return Configured(tuple(listed), _text(file, "install_py_dep_per_model").lower() == "true", handler), findings


def _is_public(address: str) -> bool:
    return not address.startswith("unix:") and urlsplit(address).hostname not in ("127.0.0.1", "localhost", "::1")


def _text(file: PropertiesFile, key: str) -> str:
    return file.entries[key].value.strip() if key in file.entries else KEYS[key].default
