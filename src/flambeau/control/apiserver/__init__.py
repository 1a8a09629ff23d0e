"""The store over HTTPS, enough for the real kubectl and the kserve SDK.

A request: ``listener`` (TLS, bounds), ``guard`` (who may come in), ``server`` (which paths), ``resources`` (which verb), then ``reads``,
``writes``, ``watch``, ``logs`` or ``reviews``. Bytes become values in ``codecs``; every refusal becomes a Status in ``status``.
"""
