"""``flambeau doctor``: what of a TorchServe set-up runs unchanged, what differs, what has to change. Reads everything, runs nothing.

``survey`` finds the files and asks the others: ``configuration`` about config.properties, ``archives`` about archives, ``code`` about
Python, ``weights`` about checkpoints, ``scripts`` about Dockerfiles and shell scripts. What they find are ``findings``.
"""
