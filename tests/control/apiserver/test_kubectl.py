"""The workflow, with the real kubectl."""

from __future__ import annotations

import pytest

from tests.control.apiserver.cluster import Kubectl, isvc_object, yaml_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_first_slice(kubectl: Kubectl, namespace: str) -> None:
    print(await kubectl("api-resources"))
    print(await kubectl("version"))
    print(await kubectl("get", "ns"))
    print(await kubectl("apply", "-f", "-", stdin=yaml_of(isvc_object("mnist", namespace))))
    print(await kubectl("get", "isvc", "-A"))
    print(await kubectl("get", "isvc", "-n", namespace, "-o", "yaml", "--show-managed-fields"))
    print(await kubectl("apply", "-f", "-", stdin=yaml_of(isvc_object("mnist", namespace))))
    print(await kubectl("apply", "-f", "-", stdin=yaml_of(isvc_object("mnist", namespace, minReplicas=2))))
    print(await kubectl("explain", "isvc.spec"))
    print(await kubectl("describe", "isvc", "-n", namespace))
    print(await kubectl("delete", "isvc", "-n", namespace, "mnist"))
