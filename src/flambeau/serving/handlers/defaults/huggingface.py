"""A folder of Hugging Face's transformers: text in, what its architecture is for out, as KServe's huggingfaceserver answers V1 and V2.

The architecture in ``config.json`` names the task. Weights are read as safetensors or with torch's ``weights_only``; code that a folder
brings runs only with ``--trust_remote_code``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import torch

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.defaults.completions import (
    EMBEDDINGS,
    PREFIX,
    STREAM_END,
    answer_of,
    asked_of,
    check_model,
    embeddings_of,
    event_of,
    texts_of,
)
from flambeau.serving.handlers.defaults.requirement import required
from flambeau.serving.handlers.defaults.tensors import OUTPUT, is_description
from flambeau.serving.handlers.defaults.writer import Writer
from flambeau.serving.handlers.diagnosis import cause_of
from flambeau.serving.handlers.errors import InvalidRows, PredictionException, UnevenRows
from flambeau.serving.model import Signature, Tensors, TensorSignature

TASKS = {
    "sequence_classification": ("ForSequenceClassification", "AutoModelForSequenceClassification"),
    "token_classification": ("ForTokenClassification", "AutoModelForTokenClassification"),
    "fill_mask": ("ForMaskedLM", "AutoModelForMaskedLM"),
    "text_generation": ("ForCausalLM", "AutoModelForCausalLM"),
    "text2text_generation": ("ForConditionalGeneration", "AutoModelForSeq2SeqLM"),
    "text_embedding": ("Model", "AutoModel"),
}
"""Task -> how its architectures' names end (GPT-2's ends with LMHeadModel), and transformers' class."""
NEW_TOKENS_DEFAULT = 64
"""A generated answer's length, where ``--max_new_tokens`` says nothing else."""
INPUT_TOKENS_MAX = 4_096
"""Tokens of one text, where neither the model nor ``--max_length`` says less; longer texts are cut."""


class HuggingFaceHandler:
    """Serve a pretrained model of texts; all texts of a batch run together."""

    takes_tensors = True

    def __init__(self) -> None:
        self.model: Any = None
        self.task = ""
        self._tokenizer: Any = None
        self._options: Mapping[str, Any] = {}
        self._device: Any = None
        self._tokens_max = INPUT_TOKENS_MAX

    def initialize(self, context: Context) -> None:
        """Load tokenizer and model from the folder; nothing is fetched.

        Raises:
            ImportError: transformers is not installed.
            ValueError: the task is unknown.
        """
        transformers = required("transformers", "huggingface")
        directory = context.system_properties["model_dir"]
        self._options = (context.manifest or {}).get("model", {}).get("options", {})
        trusted = {"trust_remote_code": bool(self._options.get("trust_remote_code")), "local_files_only": True}
        config = transformers.AutoConfig.from_pretrained(directory, **trusted)
        self.task = str(self._options.get("task") or task_of(getattr(config, "architectures", None) or ()))
        if self.task not in TASKS:
            raise ValueError(f"task {self.task} is unknown: the tasks are {', '.join(TASKS)}")
        gpu = context.system_properties.get("gpu_id")
        self._device = torch.device("cpu" if gpu is None else f"cuda:{gpu}")
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(directory, **trusted)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        if self.task == "text_generation":
            self._tokenizer.padding_side = "left"  # what is generated goes on where the text ends
        self.model = getattr(transformers, TASKS[self.task][1]).from_pretrained(directory, **trusted).to(self._device).eval()
        known = getattr(config, "max_position_embeddings", None) or INPUT_TOKENS_MAX
        self._tokens_max = min(int(self._options.get("max_length") or INPUT_TOKENS_MAX), known, self._tokenizer.model_max_length)

    def signature(self) -> Signature:
        """Return the metadata of V2: texts in."""
        datatype = {"sequence_classification": "INT64", "token_classification": "INT64", "text_embedding": "FP32"}.get(self.task, "BYTES")
        if self.task == "sequence_classification" and self._options.get("return_probabilities"):
            datatype = "BYTES"
        outputs = (TensorSignature(OUTPUT, datatype, (-1,)),)
        return Signature("pytorch_transformers", (TensorSignature("input-0", "BYTES", (-1,)),), outputs)

    def handle(self, data: list[Any], context: Context) -> list[Any]:
        """Answer one batch with one run of the model.

        Raises:
            InvalidRows: some rows hold no text.
            UnevenRows: there are OpenAI's requests among them, each with wishes of its own.
        """
        if is_description(context):
            return [None] * len(data)
        paths = [_openai_path_of(row, context.get_request_header(index, "url_path")) for index, row in enumerate(data)]
        if any(paths):
            if len(data) > 1:
                raise UnevenRows([[index] for index in range(len(data))])
            return [self._openai(paths[0], data[0]["body"], context)]
        texts: list[list[str]] = []
        refused: dict[int, Exception] = {}
        for index, row in enumerate(data):
            try:
                texts.append(_texts_of(row))
            except PredictionException as error:
                refused[index] = error
        if refused:
            raise InvalidRows(refused)
        results = self._results([text for own in texts for text in own])
        answers: list[Any] = []
        for row, own in zip(data, texts, strict=True):
            taken, results = results[: len(own)], results[len(own) :]
            answers.append(Tensors({OUTPUT: taken}) if isinstance(row, Tensors) else taken[0] if len(taken) == 1 else taken)
        return answers

    def _results(self, texts: list[str]) -> list[Any]:
        tokens = self._tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=self._tokens_max).to(self._device)
        with torch.inference_mode():
            if "generation" in self.task:
                return self._generated(tokens)
            output = self.model(**tokens)
        if self.task == "text_embedding":
            return _pooled(output.last_hidden_state, tokens["attention_mask"])
        if self.task == "fill_mask":
            return self._filled(output.logits, tokens["input_ids"])
        if self.task == "token_classification":
            lengths = tokens["attention_mask"].sum(dim=1).tolist()  # a text's answer does not depend on its neighbours' lengths
            return [classes[:length] for classes, length in zip(output.logits.argmax(dim=-1).tolist(), lengths, strict=True)]
        if self._options.get("return_probabilities"):
            return [dict(zip(map(str, range(len(row))), row, strict=True)) for row in output.logits.softmax(dim=-1).tolist()]
        return list(output.logits.argmax(dim=-1).tolist())

    def _openai(self, path: str, document: dict[str, Any], context: Context) -> Any:
        """Answer one of OpenAI's requests; a stream's parts are sent on the way."""
        names = [context.model_name, *filter(None, [os.environ.get("INFERENCE_SERVICE_NAME")])]
        check_model(document, list(dict.fromkeys(names)))
        if path == EMBEDDINGS:
            self._refuse_unless("text_embedding", path)
            texts = list(texts_of(document.get("input"), "input"))
            tokens = sum(len(ids) for ids in self._tokenizer(texts, truncation=True, max_length=self._tokens_max)["input_ids"])
            return embeddings_of(self._results(texts), model=document["model"], tokens=tokens)
        self._refuse_unless("generation", path)
        asked = asked_of(path, document, self._rendered)
        told = {"model": document["model"], "request_id": str(context.get_request_id(0)), "now": time.time()}
        writer = Writer(
            self.model, self._tokenizer, self._device, self._tokens_max, int(self._options.get("max_new_tokens") or NEW_TOKENS_DEFAULT)
        )
        if not asked.stream:
            return answer_of(asked, [writer.write(asked, prompt) for prompt in asked.prompts], **told)
        context.set_response_content_type(0, "text/event-stream")
        written = writer.write(asked, asked.prompts[0], lambda text: context.send_part(0, event_of(asked, text, **told)))
        return event_of(asked, None, **told, end=written) + STREAM_END

    def _refuse_unless(self, task: str, path: str) -> None:
        if task not in self.task:
            raise PredictionException(f"/{path} is for other models: this one's task is {self.task}", 400)

    def _rendered(self, messages: list[Any]) -> str:
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # there is no template, or it is a program that refuses these messages
            raise PredictionException(f"messages: the model's chat template cannot be used: {cause_of(error)}", 400) from error

    def _generated(self, tokens: Any) -> list[str]:
        length = int(self._options.get("max_new_tokens") or NEW_TOKENS_DEFAULT)
        if self.task == "text_generation":
            length = max(1, min(length, self._tokens_max - tokens["input_ids"].shape[1]))
        made = self.model.generate(**tokens, max_new_tokens=length, pad_token_id=self._tokenizer.pad_token_id)
        if self.task == "text_generation":
            made = made[:, tokens["input_ids"].shape[1] :]
        return list(self._tokenizer.batch_decode(made, skip_special_tokens=True))

    def _filled(self, logits: Any, ids: Any) -> list[str]:
        is_mask = ids == self._tokenizer.mask_token_id
        return [self._tokenizer.decode(row[mask].argmax(dim=-1)) for row, mask in zip(logits, is_mask, strict=True)]


def _openai_path_of(row: Any, path: Any) -> str:
    """Return which of OpenAI's routes a row came by; empty: by none."""
    is_openai = isinstance(path, str) and path.startswith(PREFIX) and isinstance(row, dict) and isinstance(row.get("body"), dict)
    return path if is_openai else ""


def task_of(architectures: Any) -> str:
    """Return the task of a model by its architecture's name."""
    name = str(next(iter(architectures), ""))
    if name.endswith("LMHeadModel"):
        return "text_generation"
    return next((task for task, (ending, _) in TASKS.items() if name.endswith(ending)), "text_embedding")


def _pooled(states: Any, mask: Any) -> list[Any]:
    """Return each text's mean vector, of unit length.

    Shapes:
        states: ``(texts, tokens, features)``; mask: ``(texts, tokens)``.
    """
    weights = mask.unsqueeze(-1).to(states.dtype)
    mean = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-9)
    return list(torch.nn.functional.normalize(mean, dim=1).tolist())


def _texts_of(row: Any) -> list[str]:
    value = row
    if isinstance(row, Tensors):
        if len(row) != 1:
            raise PredictionException(f"expected one input of texts, found {', '.join(row) or 'none'}", 400)
        value = next(iter(row.values()))
        value = value if isinstance(value, list) else None
    elif isinstance(row, dict):
        value = next((row[key] for key in ("data", "body", "text", "prompt") if key in row), None)
    values = value if isinstance(value, list) else [value]
    texts = [bytes(each).decode("utf-8", "replace") if isinstance(each, bytes | bytearray) else each for each in values]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise PredictionException("expected a text, or an object with one under text", 400)
    return texts
