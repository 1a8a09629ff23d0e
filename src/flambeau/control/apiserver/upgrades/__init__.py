"""Requests that turn their connection into something else: ``kubectl port-forward`` and ``kubectl exec``, over SPDY or WebSocket."""
