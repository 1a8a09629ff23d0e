"""What users' tests of their handlers import."""
