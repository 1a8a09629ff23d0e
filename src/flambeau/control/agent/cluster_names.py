"""Where the names lead that pods call services by: ``X-predictor.ns`` becomes the address at which it is reached here. Pure.

There is no DNS for such names on one machine, so they are replaced in the words of a container's command and in its variables; the
client makes its Host header of the address, and the gateway knows that as well. A port that follows is replaced with it: the address has
one only. A name that is no service's stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mappings_at

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?<![\w.@-])({_LABEL}\.{_LABEL})(?:\.svc(?:\.cluster\.local)?)?\.?(?::\d{{1,5}})?(?![\w.-])")
_LOOPBACK = re.compile(r"(?<![\w.-])(?:localhost|127\.0\.0\.1):(\d{1,5})(?!\d)")


def addresses_of(services: Iterable[Object]) -> dict[str, str]:
    """Return ``name.namespace`` -> ``address:port`` of every Service that has a cluster address at the gateway."""
    found = {}
    for service in services:
        address = find(service, "spec", "clusterIP")
        port = next((each["nodePort"] for each in mappings_at(service, "spec", "ports") if each.get("nodePort")), None)
        if address and address != "None" and port:
            found[f"{service['metadata']['name']}.{service['metadata']['namespace']}"] = f"{address}:{port}"
    return found


def lead(text: str, addresses: Mapping[str, str]) -> str:
    """Return a text with the names of services replaced by their addresses; ``X-predictor-default``, as names once were, counts too."""

    def put(match: re.Match[str]) -> str:
        name = match.group(1)
        return addresses.get(name) or addresses.get(name.replace("-default.", ".", 1)) or match.group(0)

    return _NAME.sub(put, text)


def lead_home(text: str, address: str, ports: Iterable[int]) -> str:
    """Return a text with ``localhost`` replaced by the pod's own address where one of the pod's ports follows.

    Args:
        text: of a container's command or variables.
        address: the pod's.
        ports: of all the pod's containers: where they expect each other, since containers of a pod share a network.
    """
    own = {str(port) for port in ports}
    return _LOOPBACK.sub(lambda match: f"{address}:{match.group(1)}" if match.group(1) in own else match.group(0), text)
