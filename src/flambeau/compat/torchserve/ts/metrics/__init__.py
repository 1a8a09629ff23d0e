"""What handlers measure with."""
