"""Handlers that archives name instead of bringing one: pictures, text, tensors; and names whose engine is elsewhere."""
