"""As whom containers run, by what their pods and they say."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.agent.identity import groups_of, identity_of, ignored_words, owner_of
from flambeau.control.resources.kind import Object
from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.run_as import RunAs

ROOT, SOMEBODY = 0, 501


def pod(security: Object | None = None, *containers: Object, inits: tuple[Object, ...] = ()) -> Object:
    named = [{"name": f"c{number}", **({"securityContext": each} if each else {})} for number, each in enumerate(containers or ({},))]
    spec: Object = {"containers": [*named, {"name": "queue-proxy", "securityContext": {"runAsUser": 77}}]}
    if security is not None:
        spec["securityContext"] = security
    spec["initContainers"] = [{"name": f"i{number}", "securityContext": each} for number, each in enumerate(inits)]
    return {"spec": spec}


def first(made: Object) -> Object:
    found: Object = made["spec"]["containers"][0]
    return found


@pytest.mark.parametrize(
    ("security", "container", "wanted"),
    [
        (None, {}, RunAs()),
        ({}, {"privileged": False}, RunAs()),
        ({"runAsUser": 1000}, {}, RunAs(1000, 1000)),
        ({"runAsUser": 1000, "runAsGroup": 3000}, {}, RunAs(1000, 3000)),
        ({"runAsUser": 1000, "runAsGroup": 0}, {}, RunAs(1000, 0)),
        ({"runAsUser": 1000}, {"runAsUser": 2000}, RunAs(2000, 2000)),
        ({"runAsUser": 1000}, {"runAsUser": 0}, RunAs()),
        ({"runAsNonRoot": True, "runAsUser": 1000}, {}, RunAs(1000, 1000)),
        ({"runAsNonRoot": True}, {"runAsNonRoot": False}, RunAs()),
        ({"fsGroup": 9, "supplementalGroups": [8, 9]}, {"runAsUser": 5}, RunAs(5, 5, (8, 9))),
        ({"fsGroup": 9}, {}, RunAs(0, 0, (9,))),
        ({"runAsGroup": 7}, {}, RunAs(0, 7)),
        ({"runAsUser": 5}, {"allowPrivilegeEscalation": False}, RunAs(5, 5, (), True)),
        (None, {"allowPrivilegeEscalation": False}, RunAs(no_new_privileges=True)),
    ],
)
def test_a_control_plane_of_root_does_what_is_said(security: Object | None, container: Object, wanted: RunAs) -> None:
    made = pod(security, container)
    assert identity_of(made, first(made), ROOT) == wanted
    assert ignored_words(made, first(made), ROOT) == ""


@pytest.mark.parametrize(
    ("security", "container", "cause"),
    [
        ({"runAsNonRoot": True, "runAsUser": 1000}, {"runAsUser": 0}, "runAsUser is 0"),
        ({"runAsUser": 0}, {"runAsNonRoot": True}, "not to run as root"),
        ({"runAsUser": -1}, {}, "runAsUser: -1 is no id"),
        ({"runAsUser": 2**31}, {}, "is no id"),
        ({"fsGroup": "wheel"}, {}, "fsGroup: 'wheel' is no id"),
        ({"runAsUser": True}, {}, "is no id"),
    ],
)
def test_what_cannot_be_done_is_said(security: Object, container: Object, cause: str) -> None:
    made = pod(security, container)
    with pytest.raises(InvalidInput, match=cause) as caught:
        identity_of(made, first(made), ROOT)
    assert (caught.value.reason, bool(caught.value.hint)) == ("CreateContainerConfigError", True)


@pytest.mark.parametrize(("security", "container"), [({"runAsNonRoot": True}, {}), ({}, {"runAsNonRoot": True})])
def test_who_is_to_be_somebody_but_is_told_nobody_runs_as_root_and_says_so(security: Object, container: Object) -> None:
    made = pod(security, container)
    assert identity_of(made, first(made), ROOT) == RunAs()
    assert "c0 runs as root, who started the control plane, though it says runAsNonRoot" in ignored_words(made, first(made), ROOT)


def test_a_pod_has_one_user_beside_root() -> None:
    for made in (pod(None, {"runAsUser": 1}, {"runAsUser": 2}), pod({"runAsUser": 1}, {}, inits=({"runAsUser": 2},))):
        with pytest.raises(InvalidInput, match="users 1, 2"):
            identity_of(made, first(made), ROOT)
    both = pod(None, {"runAsUser": 0}, {"runAsUser": 2})
    assert identity_of(both, first(both), ROOT) == RunAs()
    assert owner_of(both, ROOT) == RunAs(2, 2)


def test_a_control_plane_of_somebody_else_runs_all_as_itself_and_says_so() -> None:
    made = pod({"runAsUser": 1000, "runAsNonRoot": True, "fsGroup": 2000}, {"allowPrivilegeEscalation": False}, {"runAsUser": 7})
    assert identity_of(made, first(made), SOMEBODY) == RunAs(no_new_privileges=True)
    assert owner_of(made, SOMEBODY) is None
    words = ignored_words(made, first(made), SOMEBODY)
    assert words.startswith(
        "c0 runs as user 501, who started the control plane, without runAsUser 1000, fsGroup 2000; only a control plane"
    )
    same = pod({"runAsUser": SOMEBODY})
    assert ignored_words(same, first(same), SOMEBODY) == ""


@pytest.mark.parametrize(("security", "wanted"), [({}, ()), ({"fsGroup": 0}, (0,)), ({"supplementalGroups": [3, 1]}, (1, 3))])
def test_groups_beside_the_own_one(security: dict[str, Any], wanted: tuple[int, ...]) -> None:
    assert groups_of(pod(security)) == wanted
