"""``flambeau runtime``: the model server for models without an archive, with the flags of KServe's own servers."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flambeau.programs import model_server


def runtime(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Serve a model file by its format: ``flambeau runtime sklearn --model_dir=DIR --model_name=NAME --http_port=8080``.

    Args:
        words: a format (sklearn, xgboost, lightgbm, onnx, torch, huggingface), ``auto``, ``mlserver`` or ``triton``; then --model_name,
            --model_dir, --http_port, --grpc_port, --enable_grpc, --workers, --nthread; for huggingface also --task, --max_length,
            --max_new_tokens, --return_probabilities and --trust_remote_code.
    """
    return model_server.run_runtime(words)
