"""TrainedModels become entries of their InferenceService's ConfigMap, which the agent loads by."""
