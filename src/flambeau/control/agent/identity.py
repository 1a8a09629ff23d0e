"""As whom a container's process runs, as ``securityContext`` says it. Pure.

Kubernetes' rules: what a container says goes before what its pod says. Where nothing is said it runs as who started the control plane.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.control.resources.lookup import find
from flambeau.control.resources.pod_contract import INITIALIZER_CONTAINER, PROXY_CONTAINER
from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.run_as import RunAs

_ID_MAX = 2**31 - 1
_REASON = "CreateContainerConfigError"


def identity_of(pod: Mapping[str, Any], container: Mapping[str, Any], our_user: int) -> RunAs:
    """Return as whom a container's process is to run.

    Args:
        pod: the Pod object.
        container: one of its containers.
        our_user: who runs the control plane; another user than root can't switch, and what is asked for is left out.

    Raises:
        InvalidInput: an id is out of range, it is to run as root and not as root, or two containers ask for different users
            (CreateContainerConfigError).
    """
    gives_up = _said(pod, container, "allowPrivilegeEscalation") is False
    wanted = _id(pod, container, "runAsUser")
    user = our_user if our_user != 0 or wanted is None else wanted
    if user == wanted == 0 and _said(pod, container, "runAsNonRoot"):
        raise InvalidInput(
            f"container {container['name']} is not to run as root (runAsNonRoot), but its runAsUser is 0",
            hint="set securityContext.runAsUser to the id of another user, or start `flambeau up` as another user",
            reason=_REASON,
        )
    if our_user != 0:
        return RunAs(no_new_privileges=gives_up)
    users = sorted({each for each in (_id(pod, one, "runAsUser") for one in _containers(pod)) if each})
    if len(users) > 1:
        raise InvalidInput(
            f"the pod's containers are to run as users {', '.join(map(str, users))}, but on this machine its directory is one user's",
            hint="give them the same securityContext.runAsUser",
            reason=_REASON,
        )
    group, groups = _id(pod, container, "runAsGroup"), groups_of(pod)
    if user == 0 and group is None and not groups:
        return RunAs(no_new_privileges=gives_up)
    return RunAs(user, user if group is None else group, groups, gives_up)


def owner_of(pod: Mapping[str, Any], our_user: int) -> RunAs | None:
    """Return who gets the pod's directory and volumes: whom its containers run as, where that is somebody else than us.

    Raises:
        InvalidInput: as ``identity_of``.
    """
    identities = (identity_of(pod, each, our_user) for each in _containers(pod) if _id(pod, each, "runAsUser"))
    return next((each for each in identities if each.user not in (None, our_user)), None)


def ignored_words(pod: Mapping[str, Any], container: Mapping[str, Any], our_user: int) -> str:
    """Return a sentence about what of a container's identity is left out; empty where nothing is.

    That is all of it where the control plane is not root's. Where it is, ``runAsNonRoot`` alone: on a cluster the image names a user then,
    as those of KServe's own runtimes do, which are to run here as they are.
    """
    if our_user == 0:
        if not _said(pod, container, "runAsNonRoot") or _id(pod, container, "runAsUser") is not None:
            return ""
        return (
            f"{container['name']} runs as root, who started the control plane, though it says runAsNonRoot: there is no image that names a "
            "user; set securityContext.runAsUser, or start `flambeau up` as another user"
        )
    asked = {name: _id(pod, container, name) for name in ("runAsUser", "runAsGroup")}
    left_out = [f"{name} {asked[name]}" for name in asked if asked[name] not in (None, our_user)]
    left_out += [f"fsGroup {find(pod, 'spec', 'securityContext', 'fsGroup')}"] if fs_group_of(pod) is not None else []
    if not left_out:
        return ""
    return (
        f"{container['name']} runs as user {our_user}, who started the control plane, without {', '.join(left_out)}; "
        "only a control plane that root started can run it as somebody else"
    )


def fs_group_of(pod: Mapping[str, Any]) -> int | None:
    """Return the group that a pod's volumes are to belong to."""
    return _checked("fsGroup", find(pod, "spec", "securityContext", "fsGroup"))


def groups_of(pod: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the groups that a pod's processes have beside their own."""
    more = [_checked("supplementalGroups", each) for each in find(pod, "spec", "securityContext", "supplementalGroups") or ()]
    return tuple(sorted({each for each in (*more, fs_group_of(pod)) if each is not None}))


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the containers that have a process here."""
    both = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]
    return [each for each in both if each["name"] not in (PROXY_CONTAINER, INITIALIZER_CONTAINER)]


def _said(pod: Mapping[str, Any], container: Mapping[str, Any], name: str) -> Any:
    own = find(container, "securityContext", name)
    return find(pod, "spec", "securityContext", name) if own is None else own


def _id(pod: Mapping[str, Any], container: Mapping[str, Any], name: str) -> int | None:
    return _checked(name, _said(pod, container, name))


def _checked(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _ID_MAX:
        raise InvalidInput(f"securityContext.{name}: {value!r} is no id", hint=f"write a number from 0 to {_ID_MAX}", reason=_REASON)
    return value
