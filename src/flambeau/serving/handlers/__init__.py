"""What users subclass, the defaults, and the context."""
