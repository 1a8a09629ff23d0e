"""The platform: wishes (YAML objects) become running processes. Rooms meet only in the store."""
