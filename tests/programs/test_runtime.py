"""``flambeau runtime``: KServe's servers' flags, and models served by their format."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc
import httpx2
import joblib
import onnx
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.programs.runtime import runtime_flags
from flambeau.serving.frontends.grpc_messages import message
from tests.fixtures import transformers_folder
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import serving, start

FEATURES, CLASSES = [[0.0, 1.0], [1.0, 0.0]], [0, 1]


def sklearn_folder(root: Path) -> Path:
    folder = root / "iris"
    folder.mkdir()
    joblib.dump(LogisticRegression().fit(FEATURES, CLASSES), folder / "model.joblib")
    return folder


def onnx_file(path: Path) -> None:
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "x"], ["y"])], "double", tensors[:1], tensors[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


def tensor(data: Any, shape: list[int], datatype: str = "FP32", name: str = "input-0") -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


async def ready(client: httpx2.AsyncClient) -> None:
    async def is_ready() -> bool:
        return (await client.get("/v2/health/ready")).status_code == 200

    await until_told(is_ready)


def test_flags_mean_what_they_mean_in_kserves_servers(tmp_path: Path) -> None:
    words = [
        "sklearn",
        "--model_name=iris",
        f"--model_dir={tmp_path}",
        "--http_port=9001",
        "--workers=2",
        "--max_threads=4",
        "--nthread",
        "3",
    ]
    flags, model = runtime_flags(words, {})
    assert (model.runtime, model.name, model.directory, model.options) == ("sklearn", "iris", tmp_path, {"nthread": 3})
    assert model.notes == ("--max_threads has no effect",)
    assert flags.as_keys()["inference_address"] == ("http://127.0.0.1:9001", "--http_port")
    assert flags.as_keys()["default_workers_per_model"] == ("2", "--workers")
    assert flags.as_keys()["grpc_inference_port"][0] == "8081"
    assert runtime_flags([*words, "--enable_grpc=false"], {})[0].as_keys()["grpc_inference_port"][0] == ""


def test_mlserver_is_told_by_its_environment(tmp_path: Path) -> None:
    environment = {
        "MLSERVER_MODEL_NAME": "m",
        "MLSERVER_MODEL_URI": "/mnt/models",
        "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_xgboost.XGBoostModel",
        "FLAMBEAU_MOUNTS": f'{{"/mnt/models": "{tmp_path}"}}',
    }
    _, model = runtime_flags(["mlserver"], environment)
    assert (model.runtime, model.name, model.directory, model.options) == ("xgboost", "m", tmp_path, {"as_mlserver": True})
    with pytest.raises(InvalidInput, match=r"mlserver_mlflow\.MLflowRuntime"):
        runtime_flags(["mlserver"], {**environment, "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_mlflow.MLflowRuntime"})


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["pmml"], "runtime 'pmml' is unknown"),
        (["sklearn", "--http_port=x"], "argument --http_port"),
        (["sklearn", "--http_port=70000"], "argument --http_port"),
        (["xgboost", "--nthread=0"], "argument --nthread"),
        (["huggingface", "--model_id=google/bert"], "nothing is fetched when a server starts"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(words: list[str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        runtime_flags(words, {})


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match="--model_dir not found: /nowhere"):
        runtime_flags(["sklearn", "--model_dir=/nowhere"], {})


async def test_sklearn_answers_v1_v2_and_grpc(tmp_path: Path) -> None:
    words = ["sklearn", "--model_name=iris", f"--model_dir={sklearn_folder(tmp_path)}", "--http_port=0", "--grpc_port=0"]
    async with serving(tmp_path, words, config=None, word="runtime") as served:
        async with httpx2.AsyncClient(base_url=served.url, timeout=60) as client:
            await ready(client)
            v1 = {"instances": [[0.0, 1.0], [1.0, 0.0]]}
            answers = await asyncio.gather(*(client.post("/v1/models/iris:predict", json=v1) for _ in range(8)))
            assert [answer.json() for answer in answers] == [{"predictions": [0, 1]}] * 8
            v2 = (await client.post("/v2/models/iris/infer", json=tensor([0, 1, 1, 0], [2, 2]))).json()
            assert v2["outputs"] == [{"name": "output-0", "shape": [2], "datatype": "INT64", "data": [0, 1]}]
            told = (await client.get("/v2/models/iris")).json()
            assert (told["platform"], told["inputs"]) == ("sklearn", [{"name": "input-0", "datatype": "FP64", "shape": [-1, 2]}])
            wrong = await client.post("/v2/models/iris/infer", json=tensor([1], [1, 1]))
            assert (wrong.status_code, "X has 1 features" in wrong.json()["error"]) == (400, True)
            assert "flambeau_" in (await client.get("/metrics")).text
        [address] = re.findall(r"gRPC open address=(\S+)", served.err.read_text())
        async with grpc.aio.insecure_channel(address) as channel:
            path = "/inference.GRPCInferenceService/"
            asked = message("inference.ModelInferRequest")(model_name="iris")
            asked.inputs.add(name="input-0", datatype="FP32", shape=[2, 2]).contents.fp32_contents.extend([0, 1, 1, 0])
            infer = channel.unary_unary(
                f"{path}ModelInfer", lambda sent: sent.SerializeToString(), message("inference.ModelInferResponse").FromString
            )
            response = await infer(asked, timeout=60)
            assert (response.outputs[0].name, list(response.outputs[0].contents.int64_contents)) == ("output-0", [0, 1])
            metadata = channel.unary_unary(
                f"{path}ModelMetadata", lambda sent: sent.SerializeToString(), message("inference.ModelMetadataResponse").FromString
            )
            described = await metadata(message("inference.ModelMetadataRequest")(name="iris"), timeout=60)
            assert (described.inputs[0].name, list(described.inputs[0].shape)) == ("input-0", [-1, 2])
        served.process.terminate()
        assert await served.ended() == 0


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
async def test_a_repository_in_tritons_layout_serves_its_newest_versions(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for place in ("double/1", "double/3", "twice/1"):
        (repository / place).mkdir(parents=True)
    for version in ("1", "3"):
        onnx_file(repository / "double" / version / "model.onnx")
    (repository / "double" / "config.pbtxt").write_text('backend: "onnxruntime"\n')
    torch.jit.trace(torch.nn.Flatten(), torch.zeros(1, 2)).save(str(repository / "twice" / "1" / "model.pt"))
    words = ["triton", f"--model-store={repository}", "--http-port=0", "--allow-grpc=false", "--allow-http=true"]
    async with (
        serving(tmp_path, words, config=None, word="runtime") as served,
        httpx2.AsyncClient(base_url=served.url, timeout=60) as client,
    ):
        await ready(client)
        assert (await client.get("/v2/models/double")).json()["versions"] == ["3"]
        doubled = (await client.post("/v2/models/double/versions/3/infer", json=tensor([1, 2], [1, 2], name="x"))).json()
        assert doubled["outputs"] == [{"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [2.0, 4.0]}]
        flat = (await client.post("/v2/models/twice/infer", json=tensor([1, 2], [1, 2], name="INPUT__0"))).json()
        assert flat["outputs"][0] == {"name": "OUTPUT__0", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}


async def test_a_generating_model_answers_as_openai_does(tmp_path: Path) -> None:
    transformers_folder.folder(tmp_path / "gpt", "GPT2LMHeadModel")
    words = ["huggingface", "--model_name=gpt", f"--model_dir={tmp_path / 'gpt'}", "--http_port=0", "--enable_grpc=false"]
    async with (
        serving(tmp_path, words, config=None, environment={"KSERVE_OPENAI_ROUTE_PREFIX": "llm"}, word="runtime") as served,
        httpx2.AsyncClient(base_url=served.url, timeout=60) as client,
    ):
        await ready(client)
        assert [each["id"] for each in (await client.get("/llm/v1/models")).json()["data"]] == ["gpt"]
        assert (await client.get("/llm/v1/models/other")).status_code == 404
        asked = {"model": "gpt", "prompt": "a good", "max_tokens": 3, "temperature": 0}
        whole = (await client.post("/llm/v1/completions", json=asked)).json()
        assert whole["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
        streamed = await client.post("/llm/v1/completions", json={**asked, "stream": True})
        assert streamed.headers["content-type"] == "text/event-stream"
        assert streamed.text.endswith("data: [DONE]\n\n")
        refused = await client.post("/llm/v1/completions", json={**asked, "model": "other"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "404")
        assert "does not exist" in refused.json()["error"]["message"]
        said = (await client.post("/v1/models/gpt:predict", json={"instances": ["a good"]})).json()
        assert isinstance(said["predictions"][0], str)


async def test_two_model_files_end_the_server_with_their_names(tmp_path: Path) -> None:
    folder = sklearn_folder(tmp_path)
    (folder / "other.pkl").write_bytes(b"")
    termination = tmp_path / "termination-log"

    served = start(
        tmp_path,
        ["sklearn", f"--model_dir={folder}"],
        config=None,
        environment={"FLAMBEAU_TERMINATION_LOG": str(termination)},
        word="runtime",
    )
    await until(lambda: served.process.poll() is not None)
    assert served.process.returncode == 1
    assert "more than one file could be it: model.joblib, other.pkl" in termination.read_text()
