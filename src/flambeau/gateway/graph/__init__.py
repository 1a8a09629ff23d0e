"""The router of an InferenceGraph: a request goes through steps, each a call of a service or of another node."""
