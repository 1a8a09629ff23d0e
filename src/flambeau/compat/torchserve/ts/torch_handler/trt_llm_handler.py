"""``from ts.torch_handler.trt_llm_handler import TRTLLMHandler``."""

from flambeau.serving.handlers.defaults.elsewhere import TRTLLMHandler

__all__ = ["TRTLLMHandler"]
