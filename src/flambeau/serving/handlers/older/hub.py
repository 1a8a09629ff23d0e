"""Fetch a model's files from the Hugging Face hub, as scripts that build LLM archives do."""

from __future__ import annotations

CHECKPOINT_FILES = ["*.json", "*.pt", "*.bin", "*.txt", "*.model", "*.pth", "*.safetensors", "original/*"]
"""What of a repository is fetched: what PyTorch reads."""


def download_model(
    model_id: str = "meta-llama/Meta-Llama-3.1-8B-Instruct",
    revision: str = "main",
    model_path: str = ".cache",
    use_auth_token: bool | str = True,
) -> str:
    """Fetch a repository of the hub.

    Args:
        model_id: its name.
        revision: branch, tag or commit.
        model_path: the cache to fetch it into.
        use_auth_token: a token; True: the one that the user has logged in with.

    Returns:
        The folder that holds the files.

    Raises:
        ImportError: huggingface_hub is not installed.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only where it is asked for

    return snapshot_download(
        repo_id=model_id, revision=revision, allow_patterns=CHECKPOINT_FILES, cache_dir=model_path, token=use_auth_token
    )
