"""The workflows of a server: register, run, unregister.

The doors call it; it loads nodes into the repository and sends their jobs through the data plane. A workflow is there whole or not at all:
what fails takes the nodes that were loaded with it. Functions of the handler run in workers as models do, never in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from flambeau.foundation.errors import Conflict, FlambeauError, InvalidInput, NotFound, NotReady, Overloaded, WorkerLost
from flambeau.serving.archive.source import ArchiveSource, Found
from flambeau.serving.archive.workflow import UnpackedWorkflow, unpack_workflow
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.management import Register, Wish, workers_loaded
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.model import ModelConfig
from flambeau.serving.repository import Configure, LoadedModel, Origin, Registration, Repository
from flambeau.serving.workflow.run import Run, WorkflowRequest
from flambeau.serving.workflow.spec import SPEC_BYTES_MAX, Node, Sizes, WorkflowSpec, read_spec

_log = logging.getLogger(__name__)

RUNS_MAX = 1_024
"""Requests on their way through all workflows of this server, each with the outputs that its nodes have yet to read."""
NAME_CHARS_MAX = 128
_GRAPH = "InvalidDAG"
"""Reason of an error in the graph, which TorchServe tells apart from all others."""


@dataclass(frozen=True, slots=True)
class WorkflowWish:
    """A workflow that somebody wants served. None: not said."""

    url: str
    """Archive in the workflow store, or an address that ``allowed_urls`` allows."""
    name: str | None = None
    response_timeout_seconds: int | None = None
    startup_timeout_seconds: int | None = None
    signed: bool = False


@dataclass(eq=False, slots=True)
class Workflow:
    """A workflow that is served."""

    name: str
    url: str
    spec: WorkflowSpec
    directory: Path
    files: list[Path]
    """What is removed with it: the unpacked archive, and what was downloaded."""
    models: list[LoadedModel] = field(default_factory=list)
    runs: set[Run] = field(default_factory=set)


class Workflows:
    """Keep workflows.

    Args:
        repository: where their nodes go.
        dataplane: finds the models of nodes.
        metrics: count nodes' requests as any model's.
        directory: workflow archives are unpacked below it.
        source: finds workflow archives.
        models: finds the archives of nodes.
        register: turns the wish for a node into a registration; the settings decide which value wins.
        unregister_seconds: what a workflow that goes may take for what was accepted.
    """

    def __init__(
        self,
        repository: Repository,
        dataplane: DataPlane,
        metrics: ServerMetrics,
        *,
        directory: Path,
        source: ArchiveSource,
        models: ArchiveSource,
        register: Register,
        unregister_seconds: float,
    ) -> None:
        self._repository = repository
        self._dataplane = dataplane
        self._metrics = metrics
        self._directory = directory
        self._source = source
        self._models = models
        self._register = register
        self._unregister_seconds = unregister_seconds
        self._workflows: dict[str, Workflow] = {}
        self._coming: set[str] = set()
        self._runs = 0

    def find(self, name: str) -> Workflow:
        """Return a workflow.

        Raises:
            NotFound: there is none of that name.
        """
        try:
            return self._workflows[name]
        except KeyError:
            raise NotFound(f"Workflow not found: {name}", hint="GET /workflows lists those there are", reason="WorkflowNotFound") from None

    def all(self) -> list[Workflow]:
        """Return every workflow, sorted by name."""
        return [self._workflows[name] for name in sorted(self._workflows)]

    async def register(self, wish: WorkflowWish) -> Workflow:
        """Load a workflow's nodes and start their workers.

        Raises:
            InvalidInput: the archive or its spec is wrong.
            NotFound: there is no such archive, or its address is not allowed.
            Conflict: a workflow of that name is registered already.
            WorkerLost: a node could not be loaded; the text has every node's cause.

        Cancel: nothing is left, as after an error.
        """
        files: list[Path] = []
        try:
            archive = await self._source.find(wish.url, signed=wish.signed)
            if archive.downloaded:
                files.append(archive.path)
            unpacked, spec = await asyncio.to_thread(_read, archive.path, self._directory, files)
            name = _checked_name(wish.name or unpacked.manifest.workflow_name)
            workflow = Workflow(name, wish.url, spec, unpacked.directory, files)
            with self._reserved(name):
                await self._load_nodes(workflow, wish, unpacked.manifest.handler)
                self._workflows[name] = workflow
        except BaseException:
            await asyncio.shield(asyncio.to_thread(_remove, files))
            raise
        for warning in spec.warnings:
            _log.warning("workflow %s: %s", name, warning)
        return workflow

    async def unregister(self, name: str) -> None:
        """Take a workflow away: at once for new requests, and whole when what was accepted is answered.

        Raises:
            NotFound: there is none of that name.
        """
        workflow = self.find(name)
        del self._workflows[name]
        if workflow.runs:
            await asyncio.wait([run.result for run in workflow.runs], timeout=self._unregister_seconds)
        for run in workflow.runs:
            run.fail(NotReady(f"workflow {name} was unregistered before the request was answered"))
        await self._remove_nodes(workflow, self._unregister_seconds)
        await asyncio.to_thread(_remove, workflow.files)

    async def predict(self, name: str, request: WorkflowRequest) -> Mapping[str, bytes]:
        """Take a request through a workflow; return the outputs of its last nodes, by name.

        Raises:
            NotFound: there is no such workflow.
            Overloaded: a queue is full, or too many requests are on their way.
            InvalidInput: the first node cannot read the request.
            NotReady: a node cannot answer now.
            WorkerLost: a node failed in every attempt.

        Cancel: the nodes' jobs are forgotten.
        """
        workflow = self.find(name)
        if self._runs >= RUNS_MAX:
            raise Overloaded(f"{RUNS_MAX} requests are on their way through workflows", hint="try again later")
        run = Run(name, workflow.spec, request, lambda node: self._dataplane.model(_model_name(name, node), None), self._metrics)
        workflow.runs.add(run)
        self._runs += 1
        try:
            run.start()
            return await run.result
        finally:
            self._runs -= 1
            workflow.runs.discard(run)
            run.forget()

    # Inner workings.

    @contextlib.contextmanager
    def _reserved(self, name: str) -> Iterator[None]:
        """Keep a name for a workflow that is on its way."""
        if name in self._workflows or name in self._coming:
            raise Conflict(f"Workflow {name} is already registered.")
        self._coming.add(name)
        try:
            yield
        finally:
            self._coming.discard(name)

    async def _load_nodes(self, workflow: Workflow, wish: WorkflowWish, handler: str | None) -> None:
        """Load every node, at once; if one fails, none is left."""
        nodes = workflow.spec.nodes.values()
        if handler is None and (functions := [node.name for node in nodes if node.url is None]):
            raise InvalidInput(
                f"workflow {workflow.name}: {', '.join(functions)} is no model, and the archive has no handler with such a function",
                hint="list it under models, or give --handler to torch-workflow-archiver",
            )
        try:
            archives: dict[str | None, Found | FlambeauError] = {None: Found(workflow.directory)}
            for url in {node.url for node in nodes if node.url is not None}:
                archives[url] = await self._node_archive(workflow, url, wish)
            loading = [self._load(workflow, node, wish, handler, archives[node.url]) for node in nodes]
            failures = [result for result in await asyncio.gather(*loading, return_exceptions=True) if result is not None]
            for failure in failures:
                if not isinstance(failure, FlambeauError):
                    raise failure
            if failures:
                raise _failed(workflow.name, [failure for failure in failures if isinstance(failure, FlambeauError)])
        except BaseException:
            await asyncio.shield(self._remove_nodes(workflow, 0.0))
            raise

    async def _node_archive(self, workflow: Workflow, url: str, wish: WorkflowWish) -> Found | FlambeauError:
        """Return the archive of a node, or why there is none."""
        try:
            archive = await self._models.find(url, signed=wish.signed)
        except FlambeauError as error:
            return error
        if archive.downloaded:
            workflow.files.append(archive.path)
        return archive

    async def _load(self, workflow: Workflow, node: Node, wish: WorkflowWish, handler: str | None, archive: Found | FlambeauError) -> None:
        name = _model_name(workflow.name, node.name)
        try:
            if isinstance(archive, FlambeauError):
                raise archive
            model = await self._repository.load(self._registration(name, node, wish, handler, archive.path))
        except FlambeauError as error:
            why = f"Workflow Node {name} failed to register. Details: {error.message}"
            raise WorkerLost(why, hint=error.hint, reason="WorkflowFailed") from error
        workflow.models.append(model)
        await workers_loaded(model, model.name, model.version)

    def _registration(self, name: str, node: Node, wish: WorkflowWish, handler: str | None, archive: Path) -> Registration:
        wished = Wish(
            url=node.url or "",
            name=name,
            handler=None if node.url is not None else f"{handler}:{node.name}",
            response_timeout_seconds=wish.response_timeout_seconds,
            startup_timeout_seconds=wish.startup_timeout_seconds,
        )
        registration = self._register(wished, archive)
        return replace(
            registration,
            configure=_sized(registration.configure, node.sizes),
            origin=Origin.WORKFLOW,
            envelope=registration.envelope if node.url is not None else None,
        )

    async def _remove_nodes(self, workflow: Workflow, grace_seconds: float) -> None:
        await asyncio.gather(*(self._repository.discard(model, grace_seconds) for model in workflow.models))


def _failed(name: str, failures: list[FlambeauError]) -> WorkerLost:
    """Return the error of a workflow whose nodes could not be loaded; it has every node's cause."""
    told = ", ".join(failure.message for failure in failures)
    hints = dict.fromkeys(failure.hint for failure in failures if failure.hint)
    return WorkerLost(f"Workflow {name} has failed to register. Failures: [{told}]", hint="; ".join(hints) or None, reason="WorkflowFailed")


def _remove(files: list[Path]) -> None:
    for path in files:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _read(archive: Path, directory: Path, files: list[Path]) -> tuple[UnpackedWorkflow, WorkflowSpec]:
    """Unpack an archive and read its spec; note among the files what was made."""
    try:
        unpacked = unpack_workflow(archive, directory)
        if unpacked.directory.is_relative_to(directory):
            files.append(unpacked.directory)
        path = unpacked.directory / unpacked.manifest.spec_file
        if path.stat().st_size > SPEC_BYTES_MAX:
            raise InvalidInput(f"{path.name} is over {SPEC_BYTES_MAX} bytes")
        return unpacked, read_spec(path.read_text(encoding="utf-8"), source=path.name)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the spec in {archive.name} is not UTF-8", reason="InvalidWorkflow") from error
    except InvalidInput as error:
        # Whatever is wrong with an archive, even its size, is the archive's and not the request's.
        raise InvalidInput(error.message, hint=error.hint, reason=_GRAPH if error.reason == _GRAPH else "InvalidWorkflow") from error


def _checked_name(name: str) -> str:
    if not name or len(name) > NAME_CHARS_MAX or "/" in name or not name.isprintable():
        raise InvalidInput(f"workflow_name must have 1 to {NAME_CHARS_MAX} printable characters and no slash")
    return name


def _model_name(workflow: str, node: str) -> str:
    """Return under which name a node is registered."""
    return f"{workflow}__{node}"


def _sized(configure: Configure, sizes: Sizes) -> Configure:
    """Return a configuration with the sizes that the workflow's spec gives; they win over model-config.yaml, as in TorchServe."""

    def configure_node(name: str, version: str, yaml: Mapping[str, object]) -> tuple[ModelConfig, list[str]]:
        config, warnings = configure(name, version, yaml)
        sized = replace(
            config,
            min_workers=sizes.min_workers,
            max_workers=sizes.max_workers,
            batch_size=sizes.batch_size,
            max_batch_delay_ms=sizes.max_batch_delay_ms,
        )
        return sized, warnings

    return configure_node
