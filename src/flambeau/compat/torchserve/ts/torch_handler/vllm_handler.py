"""``from ts.torch_handler.vllm_handler import VLLMHandler``."""

from flambeau.serving.handlers.defaults.elsewhere import VLLMHandler

__all__ = ["VLLMHandler"]
