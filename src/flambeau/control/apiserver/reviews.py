"""Who am I, and what may I do: the review kinds that ``kubectl auth`` posts. They are answered, never stored. Pure.

There is one user, who holds the token and may do everything that can be done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flambeau.control.resources.kind import Object
from flambeau.control.resources.registry import Registry
from flambeau.foundation.errors import InvalidInput, NotFound

USER = "flambeau-admin"
_GROUPS = ["system:masters", "system:authenticated"]
_READING = ("get", "list", "watch")


@dataclass(frozen=True, slots=True)
class ReviewKind:
    """A kind that only exists as a question."""

    group: str
    version: str
    kind: str
    plural: str


REVIEW_KINDS = (
    ReviewKind("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    ReviewKind("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    ReviewKind("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews"),
)


def find(group: str, version: str, plural: str) -> ReviewKind | None:
    """Return the review kind at a path of the API, if there is one."""
    return next((kind for kind in REVIEW_KINDS if (kind.group, kind.version, kind.plural) == (group, version, plural)), None)


def answer(review: ReviewKind, question: Any, kinds: Registry) -> Object:
    """Return a review with its status filled in.

    Raises:
        InvalidInput: the question isn't one of its kind.
    """
    if not isinstance(question, dict) or question.get("kind", review.kind) != review.kind:
        raise InvalidInput(f"the body is no {review.kind}")
    spec = question.get("spec") or {}
    if not isinstance(spec, dict):
        raise InvalidInput(f"spec of the {review.kind} is no object")
    result: Object = {"kind": review.kind, "apiVersion": f"{review.group}/{review.version}", "metadata": {"creationTimestamp": None}}
    if review.kind == "SelfSubjectReview":
        return {**result, "status": {"userInfo": {"username": USER, "groups": _GROUPS}}}
    if review.kind == "SelfSubjectRulesReview":
        resource_rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
        path_rules = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
        status: dict[str, Any] = {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": False}
        return {**result, "spec": spec, "status": status}
    return {**result, "spec": spec, "status": _access(spec.get("resourceAttributes"), kinds)}


def _access(attributes: Any, kinds: Registry) -> dict[str, Any]:
    """Everything is allowed but writing what nobody can write."""
    if not isinstance(attributes, dict) or attributes.get("verb") in _READING:
        return {"allowed": True}
    plural, group = str(attributes.get("resource", "")), str(attributes.get("group", ""))
    try:
        kind = kinds.by_id(f"{plural}.{group}" if group else plural)
    except NotFound:
        return {"allowed": True}
    return {"allowed": False, "reason": f"{kind.id} is read-only"} if kind.read_only else {"allowed": True}
