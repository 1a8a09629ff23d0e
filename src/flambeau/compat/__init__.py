"""Other projects' import surfaces, re-exports only."""
