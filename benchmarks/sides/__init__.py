"""The servers that are compared: one module each says how it is started and how a request to it looks."""
