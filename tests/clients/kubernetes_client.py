"""Runs in an environment with Kubernetes' own Python client: what tools built on it call, against a whole platform.

Arguments: a kubeconfig, the name of a pod of namespace default that serves on port 8080.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

KUBECONFIG, POD = sys.argv[1:]
config.load_kube_config(KUBECONFIG)
core, apps, custom = client.CoreV1Api(), client.AppsV1Api(), client.CustomObjectsApi()
ISVCS = ("serving.kserve.io", "v1beta1", "default", "inferenceservices")


def refusal(call: Callable[[], object]) -> Any:
    """Return the error that a call ends with."""
    try:
        return call()
    except ApiException as error:
        return error


def check_objects() -> None:
    """Built-in and custom kinds: made, patched in every manner, listed in pieces, deleted."""
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings", labels={"of": "client"}), data={"a": "b"})
    core.create_namespaced_config_map("default", body)
    operations = [{"op": "add", "path": "/data/x", "value": "y"}]
    assert core.patch_namespaced_config_map("settings", "default", operations).data == {"a": "b", "x": "y"}
    assert core.patch_namespaced_config_map("settings", "default", {"data": {"x": None}}).data == {"a": "b"}
    maps = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"c": "d"}}
    assert maps.server_side_apply(body=applied, namespace="default", field_manager="me").data.to_dict() == {"a": "b", "c": "d"}
    assert core.delete_collection_namespaced_config_map("default", label_selector="of=client").kind == "ConfigMapList"
    utils.create_from_dict(
        client.ApiClient(), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "made"}, "stringData": {"a": "b"}}
    )
    assert core.read_namespaced_secret("made", "default").data == {"a": "Yg=="}
    core.delete_namespaced_secret("made", "default")
    whole = [each.metadata.name for each in core.list_namespaced_event("default").items]
    pieces: list[str] = []
    token: str | None = None
    while token != "":
        page = core.list_namespaced_event("default", limit=2, _continue=token)
        pieces += [each.metadata.name for each in page.items]
        token = page.metadata._continue or ""
    assert set(whole) <= set(pieces)
    assert apps.list_namespaced_deployment("default").items[0].status.ready_replicas == 1
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    assert client.AuthorizationV1Api().create_self_subject_access_review(review).status.allowed
    missing = refusal(lambda: core.read_namespaced_pod("nobody", "default"))
    assert (missing.status, json.loads(missing.body)["message"]) == (404, 'pods "nobody" not found')


def check_watches() -> None:
    """A watch goes on where a list was, and says when it can't."""
    version = custom.list_namespaced_custom_object(*ISVCS)["metadata"]["resourceVersion"]
    [name] = (each["metadata"]["name"] for each in custom.list_namespaced_custom_object(*ISVCS)["items"])
    custom.patch_namespaced_custom_object(*ISVCS, name, {"metadata": {"annotations": {"seen": "yes"}}})
    watching = watch.Watch()
    for event in watching.stream(custom.list_namespaced_custom_object, *ISVCS, resource_version=version, timeout_seconds=30):
        if event["object"]["metadata"]["annotations"].get("seen") == "yes":
            watching.stop()
    gone = watch.Watch().stream(core.list_namespaced_pod, "default", resource_version="99999999", timeout_seconds=30)
    assert refusal(lambda: next(iter(gone))).status == 410


def check_pod() -> None:
    """Logs, commands and ports of a pod."""
    assert core.read_namespaced_pod_log(POD, "default", tail_lines=1).count("\n") == 1
    followed = watch.Watch()
    first = next(iter(followed.stream(core.read_namespaced_pod_log, name=POD, namespace="default")))
    assert first
    followed.stop()
    ask: dict[str, Any] = {"stderr": True, "stdout": True, "tty": False}
    said = stream(core.connect_get_namespaced_pod_exec, POD, "default", command=["sh", "-c", "echo $PORT"], stdin=False, **ask)
    assert said.strip() == "8080", said
    talking = stream(core.connect_get_namespaced_pod_exec, POD, "default", command=["cat"], stdin=True, _preload_content=False, **ask)
    talking.write_stdin("hello\n")
    assert talking.readline_stdout(timeout=30) == "hello"
    talking.close()
    failing = ["sh", "-c", "exit 3"]
    ended = stream(core.connect_get_namespaced_pod_exec, POD, "default", command=failing, stdin=False, _preload_content=False, **ask)
    ended.run_forever(timeout=30)
    assert ended.returncode == 3
    forward = portforward(core.connect_get_namespaced_pod_portforward, POD, "default", ports="8080")
    link = forward.socket(8080)
    link.settimeout(30)
    link.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = b""
    while piece := link.recv(4096):
        answer += piece
    assert answer.endswith(b'{"live":true}'), answer
    assert forward.error(8080) is None


check_objects()
check_watches()
check_pod()
print("kubernetes is content")
