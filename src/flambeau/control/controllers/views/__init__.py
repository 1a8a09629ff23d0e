"""InferenceServices and Revisions as the objects that Knative and Kubernetes would make of them: for looking at, not for acting."""
