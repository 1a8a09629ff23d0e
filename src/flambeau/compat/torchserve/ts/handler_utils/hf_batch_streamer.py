"""``from ts.handler_utils.hf_batch_streamer import TextIteratorStreamerBatch``."""

from flambeau.serving.handlers.streaming import TextIteratorStreamerBatch

__all__ = ["TextIteratorStreamerBatch"]
