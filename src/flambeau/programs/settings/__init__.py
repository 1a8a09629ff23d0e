"""Settings of the model server: the one place where flags, environment and files are read.

``properties`` reads a config.properties, ``keys`` says which keys there are, ``sources`` decides which source wins, ``models`` turns
model_snapshot, load_models, models and model-config.yaml into registrations, and ``server`` makes the frozen settings of all that.
"""
