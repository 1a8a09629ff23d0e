"""Write docs/inference-service.md from the fields in control/resources, so that the document cannot say what the API doesn't take.

What a field means is its description in the schema, which ``kubectl explain`` shows too; ``NOTES`` says where it is another thing here than
on a cluster. Run by ``make docs`` after a field changed. ``--check`` says whether the document is current, and changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flambeau.control.resources.fields.containers import container_fields
from flambeau.control.resources.fields.inference import COMPONENT_FIELDS, EXPLAINER, INFERENCE_SERVICE_SPEC, PREDICTOR
from flambeau.control.resources.fields.pods import POD_FIELDS, RUNTIME_POD_FIELDS, SERVING_POD_FIELDS
from flambeau.control.resources.fields.runtimes import SERVING_RUNTIME_SPEC
from flambeau.control.resources.pod_template import NO_EFFECT_FIELDS
from tools.written import table, write_or_check

DOCUMENT = Path(__file__).parents[1] / "docs/inference-service.md"

_NO_EFFECT = "no effect on one machine; `kubectl apply` says so"
_MODELMESH = "kept, without effect: there is no ModelMesh"
NOTES = {
    "service.canary": "deployment mode Standard only; see [components](components.md)",
    "predictor.workerSpec": _NO_EFFECT,
    "model.runtime": "one that is installed later takes over only where the first no longer fits; see [runtimes](runtimes.md)",
    "model.storageUri": "every scheme is in [storage](storage.md); one that isn't served is refused at apply",
    "model.runtimeVersion": "shown in the image; the server is this machine's own",
    "model.protocolVersion": "chooses the runtime; every server answers V1, V2 and gRPC, whatever is said",
    "model.storage.schemaPath": "kept, without effect, as in KServe",
    "model.confidential": "kept, without effect: a model is served as it is fetched",
    "component.minReplicas": "0 in mode Knative, or with a metric of type External; the first request then starts a pod",
    "component.maxReplicas": "no limit means two pods per core",
    "component.scaleMetric": "mode Knative: concurrency, rps; mode Standard: cpu, memory",
    "component.autoScaling.metrics.podmetric": "refused at apply: let Prometheus collect, and use type External",
    "component.autoScaling.metrics.external": "with the autoscaler class keda; Prometheus is asked, another backend is refused at apply",
    "component.deploymentStrategy": "mode Standard only; taken, without effect: the old pods serve until the new ones answer",
    "component.canaryTrafficPercent": "mode Knative only; `flambeau rollout undo` is the way back",
    "component.timeout": "over 600 is refused at apply",
    "component.logger.url": "http://, https:// (a collector); s3://, gs://, abfs:// (a bucket, as in the original); file:// (a folder)",
    "component.logger.storage": "counts where `url` names a bucket or folder; else a warning",
    "component.logger.storage.key": "asked for, as by the original's webhook, without effect, as there",
    "component.logger.storage.serviceAccountName": "without it and without a `logger-sa`, the pods' own is used",
    "component.logger.storage.parameters": "others have no effect, as in the original; json or csv, unless there is a `marshallerUrl`",
    "component.logger.batchSize": "for files; at most 1000, and a file is written once it holds 4 MiB",
    "component.logger.batchInterval": "for files; a minute if nothing is said, an hour at most",
    "component.logger.marshallerUrl": "without it the gateway writes json or csv by itself",
    "component.storageUris.uri": "see [storage](storage.md)",
    "art.type": "there is no ART server on this machine: give `command` the Python of an environment that has one",
    "pod.containers": "without one of our images, a container needs a `command` of this machine; see [components](components.md)",
    "pod.ephemeralContainers": "kept, without effect; `kubectl exec` runs a command beside a container's own",
    "pod.volumes": "emptyDir, hostPath, secret, configMap, downwardAPI, projected, persistentVolumeClaim; of another kind: the pod says so",
    "pod.automountServiceAccountToken": "kept, without effect: there is no token",
    "pod.activeDeadlineSeconds": "kept, without effect",
    "pod.enableServiceLinks": "kept, without effect: no variables are made",
    "pod.terminationGracePeriodSeconds": "at most 600, 15 when the platform itself ends",
    "pod.resources": "kept, without effect: say it of containers",
    "container.image": "images are not pulled; KServe's and TorchServe's servers are run as this machine's own",
    "container.command": "a program of this machine, started directly",
    "container.args": "paths below a mount and names of services are replaced by where they are here",
    "container.workingDir": "below a mount or a folder of this machine; else processes start in a directory of their pod",
    "container.ports": "at the pod's own address, 127.x.y.z",
    "container.env": "`valueFrom.fileKeyRef` is not read",
    "container.resources": "cpu: the number of computing threads; memory: over the limit it is killed (OOMKilled); GPUs are the machine's",
    "container.resizePolicy": "kept, without effect",
    "pod.securityContext": "runAsUser, runAsGroup, runAsNonRoot, fsGroup, supplementalGroups count where root started `flambeau up`, see "
    "[compatibility](compatibility.md); the rest is without effect, and `kubectl apply` says so",
    "container.securityContext": "runAsUser, runAsGroup, runAsNonRoot as the pod's; allowPrivilegeEscalation; the rest is without effect",
    "container.volumeMounts": "the path leads to the volume in args, variables and our own servers' settings; nothing is mounted",
    "container.volumeDevices": "kept, without effect",
    "container.restartPolicyRules": "kept, without effect: the pod's restartPolicy counts",
    "container.imagePullPolicy": "kept, without effect: no image is pulled",
    "container.restartPolicy": "Always lets an init container live beside the others; elsewhere the pod's counts",
    "container.terminationMessagePath": "kept, without effect: the file's name is in `FLAMBEAU_TERMINATION_LOG`",
    "container.terminationMessagePolicy": "the file, and where it is empty the log's last lines",
    "container.stdin": "kept, without effect: a container's input is empty",
    "container.stdinOnce": "kept, without effect",
    "container.tty": "kept, without effect; `kubectl exec -it` has a terminal of its own",
    "runtime.workerSpec": "several nodes are not served; such a runtime is never chosen",
    "runtime.grpcEndpoint": _MODELMESH,
    "runtime.grpcDataEndpoint": _MODELMESH,
    "runtime.httpDataEndpoint": _MODELMESH,
    "runtime.builtInAdapter": _MODELMESH,
    "runtime.storageHelper": _MODELMESH,
    "runtime.replicas": _MODELMESH,
} | {f"pod.{name}": _NO_EFFECT for name in NO_EFFECT_FIELDS}

_HEAD = """\
# InferenceService and ServingRuntime

Written by `make docs` from `src/flambeau/control/resources/fields`; change it there. `kubectl explain isvc.spec --recursive` says the same.

A field that isn't listed is refused with the likely one meant. **Here:** says where a field is another thing on one machine than on a
cluster. Whatever differs beyond fields is in [compatibility](compatibility.md).
"""

_TAIL = """
## Annotations and labels of an InferenceService

| annotation | meaning |
| --- | --- |
| `serving.kserve.io/deploymentMode` | `Knative` (the default; or `Serverless`) or `Standard` (or `RawDeployment`); for good |
| `serving.kserve.io/stop` | `"true"`: no pods until it goes; revisions stay |
| `serving.kserve.io/disable-auto-update` | `"true"`: a changed runtime waits for the next change of the service |
| `serving.kserve.io/enable-tag-routing` | `"true"`: a canary's two sides have hosts, and `Knative-Serving-Tag: latest` or `prev` chooses |
| `serving.kserve.io/autoscalerClass` | mode Standard: `hpa`, `keda`, `external`, `none` |
| `serving.kserve.io/metrics`, `…/targetUtilizationPercentage` | mode Standard: `cpu` or `memory`, and how much of it |
| `serving.kserve.io/storageSecretName` | one Secret instead of the ServiceAccount's |
| `storage.kserve.io/readonly` | `"false"` is shown on the mount; the folder is shared with all pods of the model: write nothing to it |
| `autoscaling.knative.dev/…` | mode Knative: |
| `…/metric`, `…/target`, `…/target-utilization-percentage` | `concurrency` or `rps`, what a pod takes of it, and how full it may be |
| `…/window`, `…/panic-window-percentage`, `…/panic-threshold-percentage` | the time that is looked at, and when it is cut short |
| `…/initial-scale`, `…/activation-scale` | pods of a new revision, and of one that wakes up |
| `…/scale-down-delay`, `…/scale-to-zero-pod-retention-period` | how long fewer are enough before they go |
| `…/target-burst-capacity` | requests that are to fit beyond the present load |
| `flambeau.dev/shadow` | copies of requests go to a revision or service: `NAME` or `NAME=PERCENT` |

`autoscaling.knative.dev/min-scale` and `max-scale` come from the spec. The label `networking.knative.dev/visibility: cluster-local` has no
effect: whoever reaches the gateway reaches every service. Other annotations and labels go to the pods.

## What the status says

| field | meaning |
| --- | --- |
| `url` | the address that works when pasted |
| `address.url` | the same inside the cluster, where pods find it, too; in mode Standard the predictor's, or the transformer's |
| `conditions` | `Ready` and what it is made of; one that isn't True says what failed, where, and what to do |
| `components.predictor`, `.transformer`, `.explainer` | each one's `url`, `address`, `traffic`, revisions; never `restUrl`, `grpcUrl` |
| `modelStatus.transitionStatus` | `UpToDate`, `InProgress`, `BlockedByFailedLoad` or `InvalidSpec` |
| `modelStatus.states`, `.lastFailureInfo`, `.copies` | whether the model is loaded, why not, and how many pods have it |
| `canaryStatuses` | of `spec.canary`: `name`, `ready`, `trafficPercent`, `modelStatus` |
| `deploymentMode`, `clusterServingRuntimeName` or `servingRuntimeName` | what was chosen |
| `observedGeneration` | the spec that all of this is about |
"""


@dataclass(frozen=True)
class Section:
    """A table of fields that stand in one place."""

    key: str
    """Begins the section's keys in ``NOTES``."""
    title: str
    intro: str
    fields: Mapping[str, Any]
    depth: int = 0
    """Levels of fields within fields that are listed."""
    required: tuple[str, ...] = ()

    def rows(self) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
        """Yield (path, schema, required) of each field."""
        yield from _rows(self.fields, "", self.depth, self.required)


def _rows(fields: Mapping[str, Any], prefix: str, depth: int, required: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    for name, schema in fields.items():
        path = f"{prefix}{name}"
        yield path, schema, name in required
        inner = schema.get("items", schema)
        if depth and inner.get("properties"):
            yield from _rows(inner["properties"], f"{path}.", depth - 1, inner.get("required", ()))


def sections() -> tuple[Section, ...]:
    """Return what the document lists."""
    container = container_fields()
    model = _less(PREDICTOR["properties"]["model"]["properties"], container)
    spec = INFERENCE_SERVICE_SPEC["properties"]
    runtime = _less(SERVING_RUNTIME_SPEC["properties"], RUNTIME_POD_FIELDS)
    return (
        Section("service", "spec", "", spec, required=("predictor",)),
        Section(
            "canary",
            "spec.canary[]",
            "`predictor` has the fields below.",
            spec["canary"]["items"]["properties"],
            required=tuple(spec["canary"]["items"]["required"]),
        ),
        Section(
            "predictor",
            "spec.predictor",
            "Beside these, the fields of every component and of a pod.",
            _less(PREDICTOR["properties"], {**COMPONENT_FIELDS, **SERVING_POD_FIELDS}),
        ),
        Section(
            "model",
            "spec.predictor.model",
            "Beside these, the fields of a container: they are laid over the runtime's. A field named for a framework has the same,\n"
            "without `modelFormat` and `runtime`.",
            model,
            1,
        ),
        Section(
            "art",
            "spec.explainer.art",
            "Beside these, `storageUri`, `storage`, `runtimeVersion` and the fields of a container.",
            _less(EXPLAINER["properties"]["art"]["properties"], {**model, **container}),
        ),
        Section("component", "Every component", "Of `spec.predictor`, `spec.transformer` and `spec.explainer`.", COMPONENT_FIELDS, 2),
        Section("pod", "A pod", "Of components, of a runtime in part, and of `kind: Pod`.", POD_FIELDS),
        Section("container", "A container", "In `model` and `art` its name may be left out.", container, required=("name",)),
        Section(
            "runtime",
            "ServingRuntime and ClusterServingRuntime: spec",
            "Beside these, `volumes` and the fields of a pod that say where it runs.",
            runtime,
            required=("containers",),
        ),
        Section("format", "supportedModelFormats[]", "", runtime["supportedModelFormats"]["items"]["properties"], required=("name",)),
    )


def _less(fields: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    return {name: schema for name, schema in fields.items() if name not in others}


def meaning(section: Section, path: str, schema: Mapping[str, Any]) -> str:
    """Return what a field's row says, which is empty only where somebody forgot it."""
    described, note = schema.get("description", ""), NOTES.get(f"{section.key}.{path}", "")
    if described and note:
        return f"{described} **Here:** {note}."
    return described or note


def reference() -> str:
    """Return the document's text."""
    return _HEAD + "".join(_section(section) for section in sections()) + _TAIL


def _section(section: Section) -> str:
    intro = f"{section.intro}\n\n" if section.intro else ""
    lines: list[tuple[str, ...]] = []
    idle = []
    for path, schema, required in section.rows():
        text = meaning(section, path, schema)
        if text == _NO_EFFECT:
            idle.append(f"`{path}`")
            continue
        extra = (", required" if required else "") + (f", default `{schema['default']}`" if "default" in schema else "")
        lines.append((f"`{path}`", _type(schema) + extra, text))
    if idle:
        lines.append((", ".join(idle), "", _NO_EFFECT))
    return f"\n## {section.title}\n\n{intro}{table(('field', 'type', 'meaning'), lines)}"


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity" if "pattern" in schema else "integer or string"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}s"
    if "additionalProperties" in schema:
        return f"map, each a {_type(schema['additionalProperties'])}"
    return str(schema.get("type", "any"))


if __name__ == "__main__":
    sys.exit(write_or_check(DOCUMENT, reference()))
