"""InferenceServices become revisions, and traffic moves between them."""
