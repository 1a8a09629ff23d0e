"""Serve PyTorch models the KServe way, from a laptop to a cluster."""

__version__ = "0.1.0"
