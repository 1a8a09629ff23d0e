"""The model server: doors -> dataplane -> repository -> batching -> workers -> handlers."""
