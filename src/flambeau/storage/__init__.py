"""A model's URI becomes a local directory: fetch, cache, credentials; one file per scheme."""
