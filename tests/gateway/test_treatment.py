"""What rules do to requests beside leading them somewhere: faults, CORS, redirects, answers of their own, headers, mirrors."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.document import (
    Backend,
    Cors,
    Destination,
    DirectResponse,
    Document,
    Fault,
    HeaderChanges,
    Headers,
    Host,
    MatchType,
    Mirror,
    Redirect,
    RequestMatch,
    Rewrite,
    Rule,
    TextMatch,
)
from flambeau.gateway.table import Table
from tests.fixtures.raw_http import Answer
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World

TO = (Destination(100, backend=NAME),)
POST = b"POST /v1/models/m:predict?x=1 HTTP/1.1\r\nHost: m:8000\r\nContent-Length: 5\r\nX-Old: a\r\n\r\nhello"


def said(answer: Answer) -> Any:
    return json.loads(answer.body)


async def served(world: World, **fields: Any) -> None:
    world.serve((await world.echo()).endpoint, rule=Rule(**{"destinations": TO, **fields}))


async def test_headers_change_in_both_directions(world: World) -> None:
    both = Headers(
        HeaderChanges(set=(("X-Old", "b"), ("KServe-Isvc-Name", "mnist")), add=(("X-Added", "c"),), remove=("x-gone",)),
        HeaderChanges(set=(("X-From", "gateway"),), remove=("x-two",)),
    )
    own = Headers(HeaderChanges(add=(("X-Own", "d"),)))
    await served(world, headers=both, destinations=(Destination(1, backend=NAME, headers=own),))
    answer = await world.client.ask(POST.replace(b"X-Old: a", b"X-Old: a\r\nX-Gone: x"))
    told = said(answer)["headers"]
    assert (told["x-old"], told["kserve-isvc-name"], told["x-added"], told["x-own"]) == ("b", "mnist", "c", "d")
    assert "x-gone" not in told
    assert (answer.headers["x-from"], "x-two" in answer.headers, said(answer)["size"]) == ("gateway", False, 5)


@pytest.mark.parametrize(
    "changes",
    [
        HeaderChanges(set=(("X-A", "a\r\nX-Smuggled: b"),)),
        HeaderChanges(add=(("X-A: b\r\nX", "a"),)),
        HeaderChanges(add=(("X-A", "a\0"),)),
        HeaderChanges(set=(("Content-Length", "0"),)),
        HeaderChanges(set=(("Transfer-Encoding", "chunked"),)),
        HeaderChanges(set=(("host", "elsewhere"),)),
        HeaderChanges(remove=("connection",)),
        HeaderChanges(remove=("",)),
    ],
)
@pytest.mark.parametrize("direction", ["request", "response"])
def test_header_changes_that_could_break_http_are_refused(changes: HeaderChanges, direction: str) -> None:
    rule = Rule(direct=DirectResponse(200), headers=Headers(**{direction: changes}))
    with pytest.raises(InvalidInput, match=f"host m, rule 0: {direction} headers"):
        Table(Document(1, (Host("m", (rule,)),)))


@pytest.mark.parametrize(
    ("redirect", "match", "where"),
    [
        (Redirect(uri="/new"), None, "http://m:8000/new?x=1"),
        (Redirect(authority="other.example", code=308), None, "http://other.example/v1/models/m:predict?x=1"),
        (Redirect(scheme="https"), None, "https://m/v1/models/m:predict?x=1"),
        (Redirect(port=9000, code=302), None, "http://m:9000/v1/models/m:predict?x=1"),
        (Redirect(uri="/v2/", prefix=True, code=307), "/v1", "http://m:8000/v2/models/m:predict?x=1"),
        (Redirect(uri="/new?y=2"), None, "http://m:8000/new?y=2"),
    ],
)
async def test_redirects(world: World, redirect: Redirect, match: str | None, where: str) -> None:
    matches = (RequestMatch(uri=TextMatch(MatchType.PREFIX, match)),) if match else ()
    await served(world, destinations=(), redirect=redirect, matches=matches)
    answer = await world.client.ask(POST)
    assert (answer.status, answer.headers["location"], answer.body) == (redirect.code, where, b"")


async def test_a_direct_response(world: World) -> None:
    await served(world, destinations=(), direct=DirectResponse(418, '{"tea": true}'))
    answer = await world.client.ask(POST)
    assert (answer.status, answer.headers["content-type"], said(answer)) == (418, "application/json", {"tea": True})


async def test_faults_abort_and_delay_their_share(world: World) -> None:
    await served(world, fault=Fault(abort_status=503, abort_percent=50.0))
    draws = iter([0.9, 0.49, 0.9, 0.51])
    world.gateway.draw = lambda: next(draws)
    answers = [await world.client.ask(POST) for _ in range(2)]
    assert [answer.status for answer in answers] == [503, 200]
    assert said(answers[0])["error"] == "fault filter abort"

    world.gateway.draw = lambda: 0.0
    world.serve(world.replicas[0].endpoint, rule=Rule(TO, fault=Fault(delay_seconds=0.2, delay_percent=100.0)))
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await world.client.ask(POST)
    assert (answer.status, said(answer)["size"], loop.time() - began >= 0.2) == (200, 5, True)
    assert not world.gateway.delayed


async def test_a_client_that_leaves_while_it_is_delayed_is_forgotten(world: World) -> None:
    await served(world, fault=Fault(delay_seconds=60, delay_percent=100.0))
    _, writer = await world.client.open()
    writer.write(POST)
    await until(lambda: world.gateway.delayed)
    writer.transport.abort()
    await until(lambda: not world.gateway.delayed)
    assert not world.replicas[0].exchanges


async def test_cors(world: World) -> None:
    cors = Cors(
        (TextMatch(MatchType.EXACT, "https://a.example"), TextMatch(MatchType.REGEX, r"https://.*\.b\.example")),
        methods=("POST", "GET"),
        headers=("X-Custom",),
        expose=("X-From",),
        credentials=True,
        max_age_seconds=600,
    )
    await served(world, cors=cors)
    ask = b"OPTIONS /v1 HTTP/1.1\r\nHost: m\r\nOrigin: %b\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    allowed = await world.client.ask(ask % b"https://a.example")
    assert allowed.status == 200
    assert {name: value for name, value in allowed.headers.items() if name.startswith("access-control")} == {
        "access-control-allow-origin": "https://a.example",
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "X-From",
        "access-control-allow-methods": "POST,GET",
        "access-control-allow-headers": "X-Custom",
        "access-control-max-age": "600",
    }
    assert "access-control-allow-origin" not in (await world.client.ask(ask % b"https://evil.example")).headers
    assert not world.replicas[0].exchanges
    real = await world.client.ask(POST.replace(b"X-Old: a", b"Origin: https://x.b.example"))
    assert (real.status, real.headers["access-control-allow-origin"], real.headers["vary"]) == (200, "https://x.b.example", "Origin")
    assert "access-control-allow-origin" not in (await world.client.ask(POST)).headers


async def test_a_mirror_gets_copies_and_nobody_waits_for_it(world: World) -> None:
    real, copy = await world.echo(), await world.echo("torchserve/pod-b")
    rule = Rule(TO, mirrors=(Mirror("copies"), Mirror("nobody")))
    world.gateway.serve(
        Table(
            Document(
                1, (Host("m", (rule,)),), (Backend(NAME, (real.endpoint,)), Backend("copies", (copy.endpoint,)), Backend("nobody", ()))
            )
        )
    )
    answer = await world.client.ask(POST.replace(b"predict", b"hang"))  # the path begins with /v1: nobody hangs
    assert (answer.status, said(answer)["replica"]) == (200, "torchserve/pod-a")
    await until(lambda: copy.exchanges and copy.exchanges[0].ended)
    assert (copy.exchanges[0].size, copy.exchanges[0].head.target) == (5, b"/v1/models/m:hang?x=1")
    await until(lambda: not world.gateway.copies_under_way)
    assert world.gateway.copies_dropped == 1

    hanging = asyncio.create_task(world.client.ask(POST.replace(b"/v1/models/m:predict", b"/hang")))
    await until(lambda: len(real.exchanges) == 2 and real.exchanges[1].ended)
    await until(lambda: len(copy.exchanges) == 2 and copy.exchanges[1].ended)
    real.exchanges[1].answer()
    assert (await hanging).status == 200  # the mirror still hangs


async def test_a_mirror_gets_its_share(world: World) -> None:
    real, copy = await world.echo(), await world.echo("torchserve/pod-b")
    rule = Rule(TO, mirrors=(Mirror("copies", 30.0),))
    world.gateway.serve(Table(Document(1, (Host("m", (rule,)),), (Backend(NAME, (real.endpoint,)), Backend("copies", (copy.endpoint,))))))
    for draw in (0.29, 0.31, 0.99):
        world.gateway.draw = lambda draw=draw: draw  # type: ignore[misc]
        assert (await world.client.ask(POST)).status == 200
    await until(lambda: not world.gateway.copies_under_way and copy.exchanges)
    assert len(copy.exchanges) == 1


async def test_what_is_too_long_to_be_copied_passes_all_the_same(world: World) -> None:
    real, copy = await world.echo(), await world.echo("torchserve/pod-b")
    rule = Rule(TO, mirrors=(Mirror("copies"),))
    world.gateway.serve(Table(Document(1, (Host("m", (rule,)),), (Backend(NAME, (real.endpoint,)), Backend("copies", (copy.endpoint,))))))
    size = 5_000_000
    answer = await world.client.ask(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    assert (answer.status, said(answer)["size"], world.gateway.copies_dropped, copy.exchanges) == (200, size, 1, [])
    assert world.gateway.budget.take(64 * 1024 * 1024), "everything was given back"


async def test_paths_are_rewritten_by_a_pattern(world: World) -> None:
    await served(world, rewrite=Rewrite(pattern=r"/v1/models/([^/:]+):", replacement=r"/v2/\1/"))
    assert said(await world.client.ask(POST))["target"] == "/v2/m/predict?x=1"


@pytest.mark.parametrize(
    ("rewrite", "told"),
    [
        (Rewrite(pattern="(", replacement="/"), "regular expression"),
        (Rewrite(pattern="a", replacement="/ HTTP/1.1\r\nX: y"), "printable"),
        (Rewrite(pattern="(a)", replacement=r"\2"), "replacement"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(rewrite: Rewrite, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Table(Document(1, (Host("m", (Rule(TO, rewrite=rewrite),)),), (Backend(NAME, ()),)))


async def test_a_replacement_cannot_blow_a_path_up(world: World) -> None:
    await served(world, rewrite=Rewrite(pattern="/(.*)", replacement=r"/\1\1\1\1\1"))
    answer = await world.client.ask(b"GET /%b HTTP/1.1\r\nHost: m\r\n\r\n" % (b"a" * 8000))
    assert (answer.status, b"16384 characters" in answer.body) == (404, True)


async def test_an_attempt_is_all_that_a_rule_may_ask_for(world: World) -> None:
    dead, alive = await world.dead(), await world.echo()
    world.serve(dead, alive.endpoint, rule=Rule(TO, attempts=1))
    world.gateway.draw = lambda: 0.0
    assert (await world.client.ask(POST)).status == 503
    world.serve(dead, alive.endpoint, rule=Rule(TO, attempts=2))
    assert (await world.client.ask(POST)).status == 200


async def test_rules_ask_for_headers_that_are_not_there(world: World) -> None:
    matches = (RequestMatch(without_headers=(("x-old", TextMatch(MatchType.EXACT, "a")),)),)
    await served(world, matches=matches)
    assert (await world.client.ask(POST)).status == 404
    assert (await world.client.ask(POST.replace(b"X-Old: a", b"X-Old: b"))).status == 200


async def test_effects_of_rules_on_the_way_add_up(world: World) -> None:
    first = Rule((Destination(1, reroute=True, host="inner"),), headers=Headers(HeaderChanges(set=(("X-First", "1"), ("X-Both", "1")))))
    second = Rule(TO, headers=Headers(HeaderChanges(set=(("X-Both", "2"),))))
    backends = (Backend(NAME, ((await world.echo()).endpoint,)),)
    world.gateway.serve(Table(Document(1, (Host("m", (first,)), Host("inner", (second,))), backends)))
    told = said(await world.client.ask(POST))["headers"]
    assert (told["x-first"], told["x-both"]) == ("1", "2")


async def test_compressed_bodies_pass_as_they_are(world: World) -> None:
    packed = gzip.compress(b"a" * 10_000)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-encoding: gzip" in head.lower()
        body = await reader.readexactly(len(packed))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()

    world.serve(await world.scripted(answer))
    request = b"POST / HTTP/1.1\r\nHost: m\r\nContent-Encoding: gzip\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    got = await world.client.ask(request % (len(packed), packed))
    assert (got.headers["content-encoding"], got.body) == ("gzip", packed)
