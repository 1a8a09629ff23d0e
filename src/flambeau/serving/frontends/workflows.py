"""The pages of workflows: list, register, describe, unregister, predict. Cold: one task a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from flambeau.foundation.errors import InvalidInput, NotAllowed, WorkerLost
from flambeau.serving.frontends.page_request import PageRequest, Rendered
from flambeau.serving.frontends.status import JSON, pretty
from flambeau.serving.workflow.registry import Workflow, Workflows, WorkflowWish
from flambeau.serving.workflow.run import WorkflowRequest

WORKFLOWS_LISTED_MAX = 100
"""Of ``GET /workflows``, per page; TorchServe's own bound."""
RESULT_BYTES_MAX = 16_777_216
"""Of the outputs of several last nodes, which are parsed and written as one."""


class WorkflowPages:
    """Answer what concerns workflows.

    Args:
        workflows: what there is.
        model_api: whether workflows may be registered and unregistered: both bring code here, as models do.
    """

    def __init__(self, workflows: Workflows, *, model_api: bool) -> None:
        self._workflows = workflows
        self._model_api = model_api

    async def workflows(self, request: PageRequest) -> Rendered:
        """List the workflows, or register one."""
        if request.head.method == "POST":
            self._check_model_api()
            workflow = await self._workflows.register(_wish(request))
            return _page({"status": f"Workflow {workflow.name} has been registered and scaled successfully."})
        query = request.query()
        found = self._workflows.all()
        limit, first = query.integer("limit"), max(0, query.integer("next_page_token") or 0)
        last = first + (limit if limit is not None and 0 < limit <= WORKFLOWS_LISTED_MAX else WORKFLOWS_LISTED_MAX)
        page: dict[str, object] = {"nextPageToken": str(last)} if last < len(found) else {}
        page["workflows"] = [{"workflowName": workflow.name, "workflowUrl": workflow.url} for workflow in found[first:last]]
        return _page(page)

    async def workflow(self, request: PageRequest) -> Rendered:
        """Describe or unregister a workflow."""
        name = request.route.model
        if request.head.method == "DELETE":
            self._check_model_api()
            await self._workflows.unregister(name)
            return _page({"status": f'Workflow "{name}" unregistered'})
        return _page([_described(self._workflows.find(name))])

    async def predict(self, request: PageRequest) -> Rendered:
        """Take a request through a workflow."""
        head, name = request.head, request.route.model
        outputs = await self._workflows.predict(
            name,
            WorkflowRequest(
                id=request.id,
                content_type=(head.get(b"content-type") or b"").decode("latin-1"),
                headers=tuple((key.decode("latin-1"), value.decode("latin-1")) for key, value in head.headers),
                body=request.body,
            ),
        )
        if len(outputs) == 1:
            # TorchServe says JSON whatever the last node made.
            return 200, [JSON], next(iter(outputs.values()))
        return 200, [JSON], await asyncio.to_thread(_joined, name, outputs)

    def _check_model_api(self) -> None:
        if not self._model_api:
            raise NotAllowed(
                "Requested method is not allowed, please refer to API document.",
                hint="the model API is off: start with --enable-model-api",
            )


def _wish(request: PageRequest) -> WorkflowWish:
    parameters = request.parameters()
    url = parameters.text("url")
    if url is None:
        raise InvalidInput("Parameter url is required.")
    return WorkflowWish(
        url=url,
        name=parameters.text("workflow_name"),
        response_timeout_seconds=_positive(parameters.integer("response_timeout")),
        startup_timeout_seconds=_positive(parameters.integer("startup_timeout")),
        signed=parameters.boolean("s3_sse_kms", False),
    )


def _positive(number: int | None) -> int | None:
    return number if number is not None and number > 0 else None


def _described(workflow: Workflow) -> dict[str, object]:
    """Return a workflow as TorchServe tells it: its keys, and its graph as Java writes a map."""
    sizes = workflow.spec.sizes
    edges = ", ".join(f"{node}=[{', '.join(children)}]" for node, children in workflow.spec.edges.items())
    return {
        "workflowName": workflow.name,
        "workflowUrl": workflow.url,
        "minWorkers": sizes.min_workers,
        "maxWorkers": sizes.max_workers,
        "batchSize": sizes.batch_size,
        "maxBatchDelay": sizes.max_batch_delay_ms,
        "workflowDag": f"{{{edges}}}",
    }


def _joined(workflow: str, outputs: Mapping[str, bytes]) -> bytes:
    """Return the outputs of several last nodes as one JSON object.

    Raises:
        WorkerLost: an output is no JSON, or all of them are too large together.
    """
    if sum(map(len, outputs.values())) > RESULT_BYTES_MAX:
        raise WorkerLost(f"the outputs of workflow {workflow} are over {RESULT_BYTES_MAX} bytes together", reason="NodeFailed")
    found = {}
    for node, output in outputs.items():
        try:
            found[node] = json.loads(output)
        except (ValueError, RecursionError) as error:
            raise WorkerLost(
                f"node {node} of workflow {workflow} did not answer in JSON: {error}",
                hint=f"the outputs of {', '.join(outputs)} go into one JSON object; join them with a function if they are something else",
                reason="NodeFailed",
            ) from error
    return pretty(found)


def _page(value: object) -> Rendered:
    return 200, [JSON], pretty(value)
