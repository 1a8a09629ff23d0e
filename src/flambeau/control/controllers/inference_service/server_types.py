"""What a runtime's server needs to be told beside its own container: labels that its placeholders read, and variables. Pure.

Source: specification 2.5.
"""

from __future__ import annotations

from typing import Any

from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.pod_contract import MODELS_PATH
from flambeau.control.resources.runtime_selection import effective_protocol
from flambeau.control.resources.serving_runtime import SERVER_TYPE_ANNOTATION

_MLSERVER_CLASSES = {
    "sklearn": "mlserver_sklearn.SKLearnModel",
    "xgboost": "mlserver_xgboost.XGBoostModel",
    "lightgbm": "mlserver_lightgbm.LightGBMModel",
    "mlflow": "mlserver_mlflow.MLflowRuntime",
}


def labels_for(component: Object, runtime: Object | None) -> dict[str, str]:
    """Return the labels: TorchServe's envelope goes by the protocol, MLServer's class by the format."""
    if runtime is None:
        return {}
    match _server_type(runtime):
        case "torchserve":
            is_v1 = effective_protocol(component["model"], runtime) == "v1"
            return {"serviceEnvelope": "kserve" if is_v1 else "kservev2"}
        case "mlserver":
            found = _MLSERVER_CLASSES.get(str(find(component, "model", "modelFormat", "name")))
            return {"modelClass": found} if found else {}
    return {}


def variables_for(model: Object, runtime: Object, name: str) -> list[dict[str, Any]]:
    """Return the server's variables.

    Args:
        model: of the component.
        runtime: its runtime.
        name: the InferenceService's.
    """
    match _server_type(runtime):
        case "torchserve":
            return [{"name": "PROTOCOL_VERSION", "value": effective_protocol(model, runtime)}]
        case "mlserver" if model.get("storageUri") or model.get("storage"):
            return [{"name": "MLSERVER_MODEL_NAME", "value": name}, {"name": "MLSERVER_MODEL_URI", "value": MODELS_PATH}]
        case "mlserver":
            return [{"name": "MLSERVER_MODEL_NAME", "value": name}, {"name": "MLSERVER_LOAD_MODELS_AT_STARTUP", "value": "false"}]
    return []


def _server_type(runtime: Object) -> str:
    metadata = runtime["metadata"]
    return (metadata.get("annotations") or {}).get(SERVER_TYPE_ANNOTATION) or str(metadata["name"]).removeprefix("kserve-")
