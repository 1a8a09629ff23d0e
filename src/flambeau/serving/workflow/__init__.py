"""Workflows: models and functions as nodes of a graph, one request through all of them."""
