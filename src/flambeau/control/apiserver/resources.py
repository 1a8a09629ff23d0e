"""Requests about resources: from the path and the method to a verb, from its result to an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from flambeau.control.apiserver import codecs, forms, logs, metrics, reads, reviews, scale, status
from flambeau.control.apiserver.answers import StreamAnswer, json_answer, status_answer
from flambeau.control.apiserver.bodies import read_body
from flambeau.control.apiserver.discovery import MADE_FOR_OWNERS
from flambeau.control.apiserver.logs import LogQuery
from flambeau.control.apiserver.paths import ResourcePath
from flambeau.control.apiserver.pods import Pods
from flambeau.control.apiserver.queries import ListQuery, WriteQuery
from flambeau.control.apiserver.reads import Target
from flambeau.control.apiserver.status import NotBuilt, Subject
from flambeau.control.apiserver.streams import Streams
from flambeau.control.apiserver.upgrades import commands, port_channels, takeover
from flambeau.control.apiserver.upgrades.channels import SPDY_PROTOCOLS, WEBSOCKET_PROTOCOLS, SpdyChannels, WebSocketChannels
from flambeau.control.apiserver.upgrades.commands import CommandQuery
from flambeau.control.apiserver.upgrades.pipes import BarePipe, WebSocketPipe
from flambeau.control.apiserver.upgrades.port_channels import ChannelForward
from flambeau.control.apiserver.upgrades.port_forward import SPDY_PROTOCOL, WEBSOCKET_PROTOCOL, PortForward
from flambeau.control.apiserver.upgrades.takeover import Connection, UpgradeAnswer
from flambeau.control.apiserver.watch import watch
from flambeau.control.apiserver.writes import DeleteOptions, Writer, Written
from flambeau.control.resources.kind import Kind, Object
from flambeau.control.resources.registry import Registry
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError, NotAllowed, NotFound, NotReady
from flambeau.foundation.tasks import TaskOwner

_LATER: dict[str, str | None] = {
    "attach": "kubectl logs -f shows what it writes, kubectl exec runs a command beside it",
    "ephemeralcontainers": "kubectl exec runs a command beside the container's own, with all that this machine has",
    "proxy": "kubectl port-forward reaches a pod's ports, and an InferenceService answers at its status.url",
    "resize": "change spec.predictor of the InferenceService: a new revision takes over",
    "token": "the token of the kubeconfig is the only one there is",
    "binding": None,
    "finalize": None,
}
"""Subresources that Kubernetes has and this server doesn't, and what does the same."""

_Verb = Callable[["Resources", Request, Target], Awaitable[Response]]


class Resources:
    """Answer requests about resources.

    Args:
        store: where objects are.
        kinds: which there are.
        pods: the agent's side of pods' subresources.
        clock: for ages and owners' times.
        streams: the answers that last.
        tasks: owns what runs beside an answer.
    """

    def __init__(self, store: Store, kinds: Registry, pods: Pods, clock: Clock, streams: Streams, tasks: TaskOwner) -> None:
        self._store = store
        self._kinds = kinds
        self._pods = pods
        self._clock = clock
        self._streams = streams
        self._tasks = tasks
        self._writer = Writer(store, clock)

    async def answer(self, request: Request, path: ResourcePath) -> Response:
        """Answer a request; refusals are answers too.

        Raises:
            Exception: only for a defect of ours.
        """
        subject: Subject | None = None
        try:
            review = reviews.find(path.group, path.version, path.plural)
            if review is not None:
                return await self._review(request, path, review)
            if metrics.is_about(path):
                return await self._metrics(request, path)
            kind = self._kinds.by_api(path.group, path.version, path.plural)
            if path.namespace and not kind.namespaced:
                raise NotFound(f"{kind.id} are in no namespace")
            subject = Subject(kind, path.name)
            return await _verb(request.method, path, kind)(self, request, Target(kind, path))
        except FlambeauError as error:
            return status_answer(status.of_error(error, subject))

    async def _review(self, request: Request, path: ResourcePath, review: reviews.ReviewKind) -> Response:
        if request.method != "POST" or path.name or path.namespace:
            raise NotAllowed(f"{review.plural} can only be created")
        body = await read_body(request, codecs.OBJECT_TYPES)
        return json_answer(reviews.answer(review, body.value.value, self._kinds), 201)

    async def _metrics(self, request: Request, path: ResourcePath) -> Response:
        """GET or LIST what pods, or this machine, use."""
        if request.method not in _READING:
            raise NotAllowed("metrics are read-only")
        if path.plural == "nodes":
            return await self._node_metrics(path)
        target = Target(self._kinds.by_id("pods"), replace(path, group="", version="v1"))
        now = self._clock.wall()
        if path.name:
            found = await metrics.of_pods(self._pods.usage, [await reads.get(self._store, target)], now)
            if not found:
                raise NotReady(f"pod {path.name} isn't running: it uses nothing")
            return json_answer(found[0])
        query = ListQuery.parse(request.query_params)
        pods = await reads.list_objects(self._store, target, query, forms.Form(), self._clock)
        items = await metrics.of_pods(self._pods.usage, pods["items"], now)
        return json_answer(metrics.listed(items, int(pods["metadata"]["resourceVersion"])))

    async def _node_metrics(self, path: ResourcePath) -> Response:
        target = Target(self._kinds.by_id("nodes"), replace(path, group="", version="v1"))
        cores, memory = await self._pods.usage.measure_machine(metrics.WINDOW_SECONDS)
        if path.name:
            return json_answer(metrics.of_node(await reads.get(self._store, target), cores, memory, self._clock.wall()))
        listing = await self._store.list("nodes")
        items = [metrics.of_node(node, cores, memory, self._clock.wall()) for node in listing.items]
        return json_answer(metrics.listed(items, listing.resource_version, kind="NodeMetricsList"))

    def _form(self, request: Request) -> forms.Form:
        return forms.negotiate(request.headers.get("accept", ""), request.query_params.get("includeObject", ""))

    def _show(self, request: Request, target: Target, obj: Object, code: int = 200, warnings: tuple[str, ...] = ()) -> Response:
        shown = forms.render_object(self._form(request), target.kind, target.path.version, obj, self._clock.wall())
        return json_answer(shown, code, warnings)

    async def get(self, request: Request, target: Target) -> Response:
        """GET an object or its status; with ``watch``, watch it."""
        if ListQuery.parse(request.query_params).watch:
            return await self.list(request, target)
        return self._show(request, target, await reads.get(self._store, target))

    async def list(self, request: Request, target: Target) -> Response:
        """LIST or WATCH a collection."""
        query, form = ListQuery.parse(request.query_params), self._form(request)
        if query.watch:
            wanted = reads.watch_request(target, query, form)
            self._streams.check()
            return StreamAnswer(watch(wanted, self._store, self._clock, self._streams), codecs.JSON)
        return json_answer(await reads.list_objects(self._store, target, query, form, self._clock))

    async def log(self, request: Request, target: Target) -> Response:
        """GET what a container wrote."""
        pod = await reads.get(self._store, target)
        query = LogQuery.parse(request.query_params, pod, self._clock.wall())
        return StreamAnswer(await logs.open_log(self._pods.logs, pod, query, self._streams, self._tasks), "text/plain")

    async def port_forward(self, request: Request, target: Target) -> Response:
        """Turn the connection into one to a pod's ports."""
        pod = await reads.get(self._store, target)
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise NotReady(f"pod {target.path.name} has no address yet: it isn't running")
        offer = takeover.agree(request, websocket=(WEBSOCKET_PROTOCOL, port_channels.PROTOCOL), spdy=(SPDY_PROTOCOL,))
        by_channel = offer.protocol == port_channels.PROTOCOL
        ports = port_channels.ports_in(request.query_params.getlist("ports")) if by_channel else ()

        async def session(connection: Connection) -> None:
            if by_channel:
                await ChannelForward(WebSocketPipe(connection), address, ports).run()
                return
            pipe = WebSocketPipe(connection) if offer.websocket else BarePipe(connection)
            await PortForward(pipe, address).run()

        self._streams.check()
        return UpgradeAnswer(offer.head, session, self._streams)

    async def exec(self, request: Request, target: Target) -> Response:
        """Turn the connection into a command's streams."""
        pod = await reads.get(self._store, target)
        container = logs.choose_container(pod, request.query_params.get("container", ""))
        query = CommandQuery.parse(request.query_params, request.query_params.getlist("command"))
        offer = takeover.agree(request, websocket=WEBSOCKET_PROTOCOLS, spdy=SPDY_PROTOCOLS)
        self._streams.check()
        command = await self._pods.commands.start(
            target.path.namespace, target.path.name, container, query.command, terminal=query.terminal
        )

        async def session(connection: Connection) -> None:
            channels = WebSocketChannels(connection) if offer.websocket else SpdyChannels(connection, query.streams)
            await commands.run(command, query, channels)

        return UpgradeAnswer(offer.head, session, self._streams)

    async def create(self, request: Request, target: Target) -> Response:
        """POST an object."""
        query = _write_query(request)
        self._form(request)
        body = await read_body(request, codecs.OBJECT_TYPES)
        return self._written(request, target, await self._writer.create(target, body.value, query))

    async def replace(self, request: Request, target: Target) -> Response:
        """PUT an object or its status."""
        query = _write_query(request)
        body = await read_body(request, codecs.OBJECT_TYPES)
        return self._written(request, target, await self._writer.replace(target, body.value, query))

    async def patch(self, request: Request, target: Target) -> Response:
        """PATCH an object or its status."""
        query = _write_query(request)
        body = await read_body(request, codecs.PATCH_TYPES)
        return self._written(request, target, await self._writer.patch(target, body.media_type, body.value, query))

    def _written(self, request: Request, target: Target, written: Written) -> Response:
        return self._show(request, target, written.obj, 201 if written.created else 200, written.warnings)

    async def delete(self, request: Request, target: Target) -> Response:
        """DELETE an object."""
        options, dry_run = await _delete_options(request)
        last, gone = await self._writer.delete(target, options, dry_run=dry_run)
        if gone:
            return status_answer(status.success(Subject(target.kind, target.path.name), last["metadata"]["uid"]))
        return self._show(request, target, last)

    async def evict(self, request: Request, target: Target) -> Response:
        """POST an Eviction: delete the pod, for nothing here forbids it."""
        body = (await read_body(request, codecs.OBJECT_TYPES)).value.value
        options = DeleteOptions.parse(body.get("deleteOptions") if isinstance(body, dict) else None)
        await self._writer.delete(target, options, dry_run=_write_query(request).dry_run)
        return json_answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201)

    async def get_scale(self, request: Request, target: Target) -> Response:
        """GET how many pods there are."""
        return json_answer(scale.scale_of(await reads.get(self._store, target)))

    async def set_scale(self, request: Request, target: Target) -> Response:
        """PUT or PATCH how many pods there are to be."""
        obj = await reads.get(self._store, target)
        body = await read_body(request, codecs.OBJECT_TYPES if request.method == "PUT" else codecs.PATCH_TYPES)
        replicas = scale.replicas_in(body.value.value)
        return json_answer(await scale.write(self._store, target.kind, obj, replicas, dry_run=_write_query(request).dry_run))

    async def delete_collection(self, request: Request, target: Target) -> Response:
        """DELETE every object that the selectors match; answers the list of them."""
        query, form = ListQuery.parse(request.query_params), self._form(request)
        options, dry_run = await _delete_options(request)
        listed = await reads.list_objects(self._store, target, query, forms.Form(), self._clock)
        deleted = []
        for obj in listed["items"]:
            metadata = obj["metadata"]
            path = ResourcePath(target.path.group, target.path.version, target.path.plural, metadata.get("namespace", ""), metadata["name"])
            try:
                last, _ = await self._writer.delete(Target(target.kind, path), options, dry_run=dry_run)
            except NotFound:  # something else deleted it meanwhile, or an owner took it along
                continue
            deleted.append(last)
        shown = forms.render_list(form, target.kind, target.path.version, deleted, listed["metadata"], self._clock.wall())
        return json_answer(shown)


_OBJECT_VERBS: dict[str, _Verb] = {
    "GET": Resources.get,
    "HEAD": Resources.get,
    "PUT": Resources.replace,
    "PATCH": Resources.patch,
    "DELETE": Resources.delete,
}
_COLLECTION_VERBS: dict[str, _Verb] = {
    "GET": Resources.list,
    "HEAD": Resources.list,
    "POST": Resources.create,
    "DELETE": Resources.delete_collection,
}
_STATUS_VERBS: dict[str, _Verb] = {"GET": Resources.get, "PUT": Resources.replace, "PATCH": Resources.patch}
_POD_VERBS: dict[str, dict[str, _Verb]] = {
    "log": {"GET": Resources.log},
    "portforward": {"GET": Resources.port_forward, "POST": Resources.port_forward},
    "exec": {"GET": Resources.exec, "POST": Resources.exec},
    "eviction": {"POST": Resources.evict},
}
_SCALE_VERBS: dict[str, _Verb] = {"GET": Resources.get_scale, "PUT": Resources.set_scale, "PATCH": Resources.set_scale}
_READING = ("GET", "HEAD")


def _verb(method: str, path: ResourcePath, kind: Kind) -> _Verb:
    """Return what a method on a path means.

    Raises:
        NotFound: there is no such subresource.
        NotBuilt: there is, in Kubernetes.
        NotAllowed: the method means nothing there, or writes a kind that users can't write.
    """
    is_scale = path.subresource == "scale" and kind.id in scale.KINDS
    if path.subresource in _LATER:
        raise NotBuilt(f"{kind.plural}/{path.subresource} is not implemented by this API server", hint=_LATER[path.subresource])
    if is_scale:
        verbs = _SCALE_VERBS
    elif path.subresource in _POD_VERBS and kind.id == "pods":
        verbs = _POD_VERBS[path.subresource]
    elif path.subresource == "status" and kind.has_status:
        verbs = _STATUS_VERBS
    elif path.subresource:
        raise NotFound(f"{kind.id} has no {path.subresource}")
    else:
        verbs = _OBJECT_VERBS if path.name else _COLLECTION_VERBS
    is_write = method not in _READING and not is_scale  # who may write a scale is decided by what it belongs to
    may_be_orphan = method == "DELETE" and path.name and kind.id in MADE_FOR_OWNERS
    if kind.read_only and is_write and not may_be_orphan:
        made = "it is made from an InferenceService: apply one" if method == "POST" else "change the object that owns it"
        raise NotAllowed(f"{kind.id} is read-only", hint=kind.instead_of_writing or made)
    if method not in verbs:
        raise NotAllowed(f"{method} is not allowed here", hint=f"allowed are {', '.join(verbs)}")
    return verbs[method]


def _write_query(request: Request) -> WriteQuery:
    return WriteQuery.parse(request.query_params, request.headers.get("user-agent", ""))


async def _delete_options(request: Request) -> tuple[DeleteOptions, bool]:
    """Return the options in the body and the query, and whether it is a dry run."""
    body = (await read_body(request, codecs.OBJECT_TYPES, may_be_empty=True)).value.value
    # As in Kubernetes: what stands in the query counts where there is no body.
    options = DeleteOptions.parse({"propagationPolicy": request.query_params.get("propagationPolicy")} if body is None else body)
    dry_run = _write_query(request).dry_run or (isinstance(body, dict) and body.get("dryRun") == ["All"])
    return options, dry_run
