"""``from ts.handler_utils.micro_batching import MicroBatching``."""

from flambeau.serving.handlers.micro_batching import HANDLER_METHODS, MicroBatching

__all__ = ["HANDLER_METHODS", "MicroBatching"]
