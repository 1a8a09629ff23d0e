"""InferenceGraphs become routers: revisions with pods, like any other service."""
