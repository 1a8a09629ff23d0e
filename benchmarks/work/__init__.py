"""What is computed in the benchmarks; the same for every side, and importable in the peers' environments."""
