"""The fields of every type that people write in objects, each type once: schemas for the door and for ``kubectl explain``.

``words`` is what schemas are written with; ``references``, ``containers``, ``volumes``, ``placement`` and ``pods`` are Kubernetes' types,
``scaling``, ``inference`` and ``runtimes`` KServe's, ``routes`` Istio's. The kinds' own files beside this folder put them together. All
of it is data that nobody changes: a type used twice is the same dict twice.
"""
