"""What models that span several devices use."""
