"""Many services, most of them asleep from the beginning: each is there, has its route, costs no pod, and answers when it is woken."""

from __future__ import annotations

from tests.system.harness import Platform, until
from tests.system.many import apply, client, path, ready_count, service

ASLEEP = 58


def test_sixty_services_of_which_two_are_awake(platform: Platform) -> None:
    with client(platform) as api:
        for number in range(ASLEEP):
            apply(api, service(f"asleep-{number}", f"word-{number}", asleep=True))
            assert api.get(path(f"asleep-{number}"))["metadata"]["name"] == f"asleep-{number}"
        for number in range(2):
            apply(api, service(f"awake-{number}", f"other-{number}"))
        until(lambda: ready_count(api) == ASLEEP + 2, seconds=90, what="sixty Ready services")
        pods = api.get("/api/v1/pods")["items"]
        assert sorted(pod["metadata"]["labels"]["serving.kserve.io/inferenceservice"] for pod in pods) == ["awake-0", "awake-1"]

        def answer(name: str) -> str:
            return platform.post("/v1/models/m:predict", {"instances": []}, host=f"{name}.default.svc.cluster.local").text

        assert answer("awake-1") == '{"predictions": ["other-1"]}'
        assert answer("asleep-57") == '{"predictions": ["word-57"]}'  # waits at the gateway while its pod starts
        names = {event["reason"] for event in api.get("/api/v1/namespaces/default/events")["items"]}
        assert "ScaledUp" in names
