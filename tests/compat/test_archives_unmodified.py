"""Archives as TorchServe's users write them, one of each kind, in one real server; models are small and made here."""

from __future__ import annotations

import asyncio
import io
import json
import warnings
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import torch
from PIL import Image

from tests.fixtures.waiting import until_told
from tests.programs.kit import CONFIG, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINEAR = """
import torch
import torch.nn as nn

class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x.mean(dim=(2, 3)))
"""
SEGMENTER = LINEAR.replace("return self.fc(x.mean(dim=(2, 3)))", 'return {"out": x[:, :2, :4, :4]}')
DETECTOR = """
import torch

class Net(torch.nn.Module):
    def forward(self, pictures):
        box, label, score = torch.tensor([[0.0, 1.0, 2.0, 3.0]]), torch.tensor([1]), torch.tensor([0.75])
        return [{"boxes": box, "labels": label, "scores": score} for _ in pictures]
"""
BAG = """
import torch

class Bag(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.EmbeddingBag(3, 2)

    def forward(self, text, offsets):
        return self.embedding(text, offsets)
"""
DIGITS = """
from torchvision import transforms
from torch.profiler import ProfilerActivity
from ts.torch_handler.image_classifier import ImageClassifier

class Digits(ImageClassifier):
    image_processing = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])

    def __init__(self):
        super(Digits, self).__init__()
        self.profiler_args = {"activities": [ProfilerActivity.CPU], "record_shapes": True}

    def postprocess(self, data):
        return data.argmax(1).tolist()
"""
CUSTOM = """
import logging
import os
import torch
from abc import ABC
from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import PredictionException

logger = logging.getLogger(__name__)

class Doubling(BaseHandler, ABC):
    def __init__(self):
        super(Doubling, self).__init__()
        self.initialized = False

    def initialize(self, ctx):
        properties = ctx.system_properties
        self.device = torch.device("cuda:" + str(properties.get("gpu_id")) if torch.cuda.is_available() else "cpu")
        self.model = torch.jit.load(os.path.join(properties.get("model_dir"), ctx.manifest["model"]["serializedFile"]))
        self.counts = ctx.metrics.add_metric_to_cache("Doubled", "count", ["Kind"])
        self.initialized = True

    def preprocess(self, requests):
        texts = [request.get("data") or request.get("body") for request in requests]
        if any(not text for text in texts):
            raise PredictionException("nothing to double", 422)
        return torch.tensor([[float(text)] for text in texts])

    def inference(self, inputs):
        return self.model(inputs)

    def postprocess(self, outputs):
        self.counts.add_or_update(len(outputs), ["number"])
        self.context.set_response_content_type(0, "text/plain")
        self.context.set_response_header(0, "X-Doubled", "yes")
        return ["%.1f" % value for (value,) in outputs.tolist()]
"""
MODULE = """
import json

_headers = {}

def entry_point(data, context):
    if not data:
        return None
    asked = data[0].get("body")
    if isinstance(asked, dict) and "status" in asked:
        context.set_response_status(asked["status"], asked["phrase"])
        return ["short and stout"]
    return [{"headers": context.get_all_request_header(0), "picture": context.get_request_header(0, "picture"), "row": sorted(data[0])}]
"""
STREAM = """
from ts.handler_utils.utils import send_intermediate_predict_response
from ts.torch_handler.base_handler import BaseHandler

class Streaming(BaseHandler):
    def initialize(self, ctx):
        self.initialized = True

    def handle(self, data, context):
        if data[0].get("body") == "fail":
            send_intermediate_predict_response(["one "], context.request_ids, "Intermediate Prediction success", 200, context)
            raise RuntimeError("half way")
        context.set_response_content_type(0, "text/event-stream")
        for word in ("one ", "two "):
            send_intermediate_predict_response([word], context.request_ids, "Intermediate Prediction success", 200, context)
        return ["three"]
"""
MMS = """
from ts.model_service.model_service import SingleNodeService

class Counter(SingleNodeService):
    def _inference(self, data):
        return [len(value) for value in data]

_service = Counter("m", None, None)

def handle(data, context):
    if not _service.ctx:
        _service.initialize(context)
    if data is None:
        return None
    return _service.handle(data, context)
"""
MICRO = """
import torch
from ts.handler_utils.micro_batching import MicroBatching
from ts.torch_handler.base_handler import BaseHandler

class Micro(BaseHandler):
    def initialize(self, ctx):
        super().initialize(ctx)
        self.handle = MicroBatching(self, ctx.model_yaml_config["micro_batching"]["micro_batch_size"])

    def preprocess(self, data):
        return torch.tensor([row["body"] for row in data])
"""


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def scripted() -> bytes:
    class Double(torch.nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
        def forward(self, x: Any) -> Any:
            return x * 2

    buffer = io.BytesIO()
    with warnings.catch_warnings():  # such archives are there for as long as torch loads them
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(Double(), torch.zeros(1, 1)), buffer)
    return buffer.getvalue()


def picture(size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "blue").save(buffer, "PNG")
    return buffer.getvalue()


WEIGHTS = saved({"fc.weight": torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]), "fc.bias": torch.zeros(2)})
"""Class 1 for blue pictures."""
EAGER = {"modelFile": "model.py", "serializedFile": "w.pth"}
ARCHIVES: dict[str, tuple[dict[str, Any], dict[str, str | bytes]]] = {
    "classifier": (
        {"handler": "image_classifier", **EAGER},
        {"model.py": LINEAR, "w.pth": WEIGHTS, "index_to_name.json": '{"0": ["n1", "red"], "1": ["n2", "blue"]}'},
    ),
    "segmenter": ({"handler": "image_segmenter", "modelFile": "model.py"}, {"model.py": SEGMENTER}),
    "detector": ({"handler": "object_detector", "modelFile": "model.py"}, {"model.py": DETECTOR, "index_to_name.json": '{"1": "person"}'}),
    "text": (
        {"handler": "text_classifier", **EAGER},
        {
            "model.py": BAG,
            "w.pth": saved({"embedding.weight": torch.tensor([[0.0, 0], [0, 2.0], [2.0, 0]])}),
            "source_vocab.pt": saved({"good": 1, "bad": 2}),
            "index_to_name.json": '{"0": "Negative", "1": "Positive"}',
        },
    ),
    "tensors": ({"handler": "densenet_handler", "serializedFile": "w.pt"}, {"w.pt": scripted()}),
    "digits": ({"handler": "digits_handler.py", **EAGER}, {"digits_handler.py": DIGITS, "model.py": LINEAR, "w.pth": WEIGHTS}),
    "custom": ({"handler": "my/handlers/doubling.py", "serializedFile": "w.pt"}, {"doubling.py": CUSTOM, "w.pt": scripted()}),
    "module": ({"handler": "module.py:entry_point"}, {"module.py": MODULE}),
    "stream": ({"handler": "stream_handler.py"}, {"stream_handler.py": STREAM}),
    "mms": ({"handler": "mms_service"}, {"mms_service.py": MMS}),
    "micro": (
        {"handler": "micro.py", "serializedFile": "w.pt", "configFile": "model-config.yaml"},
        {
            "micro.py": MICRO,
            "w.pt": scripted(),
            "model-config.yaml": "batchSize: 4\nhandler: {profile: true}\nmicro_batching: {micro_batch_size: 2}\n"
            "pt2: {compile: {enable: true, backend: eager}}\n",
        },
    ),
}


def write(store: Path, name: str) -> None:
    described, files = ARCHIVES[name]
    manifest = {
        "createdOn": "01/01/2024 00:00:00",
        "runtime": "python",
        "model": {"modelName": name, "modelVersion": "1.0", **described},
        "archiverVersion": "0.12.0",
    }
    with zipfile.ZipFile(store / f"{name}.mar", "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    root = tmp_path_factory.mktemp("archives")
    (root / "store").mkdir()
    for name in ARCHIVES:
        write(root / "store", name)
    arguments = ["--model-store", str(root / "store"), "--models", *(f"{name}.mar" for name in ARCHIVES)]
    async with serving(root, arguments, config=CONFIG) as served, httpx2.AsyncClient(base_url=served.url, timeout=60) as asking:

        async def ready() -> bool:
            answer = (await asking.get("/v2/health/ready")).json()
            assert "Failed" not in str(answer.get("reason")), answer
            return bool(answer["ready"])

        await until_told(ready)
        yield asking


async def test_default_handlers_answer(client: httpx2.AsyncClient) -> None:
    blue = {"files": {"data": ("blue.png", picture(), "image/png")}}
    classes = (await client.post("/predictions/classifier", **blue)).json()  # type: ignore[arg-type]  # httpx2's own keywords
    assert list(classes) == ["blue", "red"]
    pixels = (await client.post("/predictions/segmenter", content=picture())).json()
    assert [len(pixels), len(pixels[0]), len(pixels[0][0])] == [4, 4, 2]
    assert (await client.post("/predictions/detector", content=picture())).json() == [{"person": [0.0, 1.0, 2.0, 3.0], "score": 0.75}]
    opinion = (await client.post("/predictions/text", content="a <b>Good</b> film", headers={"content-type": "text/plain"})).json()
    assert opinion["Positive"] > opinion["Negative"]
    tensor = (await client.post("/predictions/tensors", content=saved(torch.ones(2, 2)))).content
    assert torch.load(io.BytesIO(tensor)).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert (await client.post("/predictions/digits", content=picture())).text == "1"


async def test_captum_explains_on_every_route(client: httpx2.AsyncClient) -> None:
    form = {"data": "good bad", "target": "1"}
    words = (await client.post("/explanations/text", data=form)).json()
    assert words["words"] == ["good", "bad"]
    answer = (await client.post("/v1/models/text:explain", json={"instances": [form, {"data": "bad"}]})).json()
    assert [each["words"] for each in answer["explanations"]] == [["good", "bad"], ["bad"]]
    pixels = (await client.post("/explanations/digits", content=picture())).json()
    assert torch.tensor(pixels).shape == (3, 32, 32)


async def test_a_custom_service_sets_its_answer(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/predictions/custom", content="21", headers={"content-type": "text/plain"})
    assert (answer.text, answer.headers["content-type"], answer.headers["x-doubled"]) == ("42.0", "text/plain", "yes")
    refused = await client.post("/predictions/custom", content=b"")
    assert (refused.status_code, refused.json()["message"]) == (422, "nothing to double")


async def test_what_a_handler_measures_is_on_the_metrics_page(client: httpx2.AsyncClient) -> None:
    await client.post("/predictions/custom", content="1", headers={"content-type": "text/plain"})
    await client.post("/predictions/micro", json=[1.0])
    page = (await client.get("/metrics")).text
    assert 'Kind="number"' in page
    for name in ("Doubled", "HandlerTime", "ts_handler_inference"):
        assert f"\n{name}{{" in page


async def test_a_module_is_a_handler_and_reads_headers_of_parts(client: httpx2.AsyncClient) -> None:
    files = {"picture": ("p.png", b"png", "image/png"), "note": (None, "text")}
    answer = (await client.post("/predictions/module", files=files, headers={"X-Mine": "1"})).json()  # type: ignore[arg-type]  # httpx2's own keywords
    assert answer["picture"] == {"content-type": "image/png"}
    assert answer["row"] == ["note", "picture"]
    assert answer["headers"]["explain"] == "False"
    assert {name.lower(): value for name, value in answer["headers"].items()}["x-mine"] == "1"


async def test_a_handlers_status_and_phrase_go_out(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/predictions/module", json={"status": 418, "phrase": "Teapot"})
    assert (answer.status_code, answer.reason_phrase, answer.text) == (418, "Teapot", "short and stout")


async def test_an_answer_streams(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/predictions/stream")
    assert (answer.status_code, answer.text) == (200, "one two three")
    assert (answer.headers["transfer-encoding"], answer.headers["ts_stream_next"]) == ("chunked", "true")
    assert answer.headers["content-type"] == "text/event-stream"
    async with client.stream("POST", "/predictions/stream") as parts:
        first = await anext(aiter(parts.aiter_raw()))
        assert first.startswith(b"one ")


async def test_a_failure_half_way_cuts_the_connection(client: httpx2.AsyncClient) -> None:
    with pytest.raises(httpx2.TransportError):
        await client.post("/predictions/stream", content="fail", headers={"content-type": "text/plain"})
    assert (await client.post("/predictions/stream")).text == "one two three"


async def test_services_of_multi_model_server_answer(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/predictions/mms", content="four", headers={"content-type": "text/plain"})).text == "4"


async def test_micro_batches_answer_in_order(client: httpx2.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/predictions/micro", json=[float(number)]) for number in range(8)))
    assert [answer.json() for answer in answers] == [[2.0 * number] for number in range(8)]
