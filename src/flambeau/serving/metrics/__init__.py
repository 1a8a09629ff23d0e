"""What the server measures: counted in plain numbers on the hot path, told as Prometheus text or as TorchServe's log lines."""
