"""Where gRPC calls come in: the table says where one goes, its rule what else is done to it, and what stands beside its backend looks on.

Of what rules do beside leading somewhere, faults, changes of the request's headers and mirrors are done to calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.foundation.http1 import ANSWERED, Exchange, Head
from flambeau.gateway import answers, grpc_answers
from flambeau.gateway.clients import Tap
from flambeau.gateway.copies import MirrorTap
from flambeau.gateway.effects import changed_head
from flambeau.gateway.grpc_call import CallClient, forward_call
from flambeau.gateway.grpc_copies import CallCopy, TappedCall
from flambeau.gateway.http2_front import Stream
from flambeau.gateway.table import Detour, Miss, MissReason, Route
from flambeau.gateway.treatment import delayed

if TYPE_CHECKING:
    from flambeau.gateway.proxy import Gateway


def begin_call(gateway: Gateway, head: Head, stream: Stream) -> Exchange:
    """Begin a call, or refuse it."""
    found = gateway.route(head)
    if not isinstance(found, Route):
        status = (
            answers.miss_status(found) if isinstance(found, Miss) else found.redirect.code if isinstance(found, Detour) else found.status
        )
        why = _told(found) if isinstance(found, Miss) else f"the route answers {status} itself, which is nothing for gRPC ({found.source})"
        stream.send_head(grpc_answers.error_head(grpc_answers.code_of(status), why), end=True)
        return ANSWERED
    effects = found.effects
    if effects is None:
        return _enter(gateway, head, stream, found)
    if effects.request:
        head = changed_head(head, effects.request)
    fault = effects.fault
    if fault is not None and fault.abort_status and gateway.draw() * 100 < fault.abort_percent:
        stream.send_head(grpc_answers.error_head(grpc_answers.code_of(fault.abort_status), "fault filter abort"), end=True)
        return ANSWERED
    if fault is not None and fault.delay_seconds and gateway.draw() * 100 < fault.delay_percent:
        return delayed(gateway, stream, fault.delay_seconds, lambda _: _mirrored(gateway, head, stream, found))
    return _mirrored(gateway, head, stream, found)


def _mirrored(gateway: Gateway, head: Head, stream: Stream, found: Route) -> Exchange:
    taps: list[Tap] = [
        MirrorTap(CallCopy(gateway, mirror.backend, found, head, stream.peer))
        for mirror in (found.effects.mirrors if found.effects is not None else ())
        if gateway.draw() * 100 < mirror.percent
    ]
    if not taps:
        return _enter(gateway, head, stream, found)
    tapped = TappedCall(stream, taps, gateway.budget)
    tapped.exchange = _enter(gateway, head, tapped, found)
    return tapped


def _enter(gateway: Gateway, head: Head, client: CallClient, found: Route) -> Exchange:
    """Bring a call to its backend."""
    service = gateway.services[found.backend.name]
    if service.sidecar is not None:
        return service.sidecar.begin_call(found, head, client)
    return forward_call(gateway, service, found, head, client)


def _told(miss: Miss) -> str:
    known = miss.hosts if miss.reason is MissReason.UNKNOWN_HOST else miss.rules
    return miss.message + (f"; there are: {', '.join(known)}" if known else "")
