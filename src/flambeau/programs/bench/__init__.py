"""``flambeau bench``: how many requests a second a model answers, how fast, and where the time of a request goes.

``run`` measures, by ``load`` over ``connection``; ``question`` is what is asked, ``figures`` what is seen, ``search`` tries batch sizes and
numbers of workers, ``report`` and ``plot`` show it all. ``question``, ``figures``, ``report`` and ``plot`` are pure.
"""
