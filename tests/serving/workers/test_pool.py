"""Faults of real worker processes, by real signals; light handlers in fresh interpreters, which start in 0.1 s."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import uvloop

from flambeau.foundation.errors import NotReady, TimedOut
from flambeau.serving.model import Answer
from flambeau.serving.workers.machine import Limits, State
from flambeau.serving.workers.starter import FreshStarter
from tests.serving.workers.kit import ECHO, now, serving, until, write_model

COMMANDS = """
import os, sys, time

def handle(data, context):
    if data is None:
        return
    for row in data:
        match bytes(row["body"]).decode().split():
            case ["exit", code]: sys.exit(int(code))
            case ["abort"]: os.abort()
            case ["sleep", seconds]: time.sleep(float(seconds))
            case ["raise"]: raise ValueError("such a row")
            case ["memory"]: raise MemoryError
            case ["large", size]: return ["x" * int(size)]
            case ["mute"]: os.closerange(3, 50); time.sleep(60)
            case ["child"]:
                import subprocess
                return [str(subprocess.Popen(["sleep", "300"]).pid)]
    return [bytes(row["body"]) for row in data]
"""


async def test_a_model_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path)) as served:
        answer = await served.ask(b"hello").wait()
        assert (answer.status, answer.body) == (200, b"hello")
        (status,) = served.pool.workers()
        assert (status.id, status.state, status.last_exit) == (1, State.IDLE, None)
        assert status.memory_bytes > 1_000_000
        assert psutil.Process(served.pid).cwd() == str(tmp_path)


def test_a_model_answers_on_uvloop(tmp_path: Path) -> None:
    async def main() -> Answer:
        async with serving(write_model(tmp_path, batch_size=4)) as served:
            replies = [served.ask(bytes([65 + number]) * 500_000) for number in range(6)]
            bodies = [(await reply.wait()).body for reply in replies]
            assert bodies == [bytes([65 + number]) * 500_000 for number in range(6)]
            return await served.ask(b"hello").wait()

    assert uvloop.run(main()).body == b"hello"


async def test_an_idle_worker_that_is_killed_is_replaced_at_once(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path)) as served:
        first = served.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: served.pool.workers() and served.pool.workers()[0].pid not in (None, first) and served.pool.ready)
        assert str(served.pool.workers()[0].last_exit) == "was killed by SIGKILL"
        assert (served.pool.failure(), served.pool.last_failure is not None) == (None, True)
        assert await served.ask(b"again").text() == "again"


async def test_a_worker_found_dead_before_it_saw_a_job_costs_nobody_an_answer(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, min_workers=2, max_workers=2)) as served:
        processes = [psutil.Process(status.pid) for status in served.pool.workers()]
        for process in processes:
            process.kill()
        while any(process.status() != psutil.STATUS_ZOMBIE for process in processes):
            time.sleep(0.001)  # noqa: ASYNC251 - so that the pool does not hear of it before the job comes
        replies = [served.ask(b"anyway") for _ in range(3)]
        assert [await reply.text() for reply in replies] == ["anyway"] * 3


async def test_nothing_is_given_to_a_pool_that_stops(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path)) as served:
        stopping = asyncio.ensure_future(served.pool.stop(5))
        await asyncio.sleep(0)
        with pytest.raises(NotReady, match="no worker"):
            served.ask(b"late")
        await stopping


async def test_the_batch_of_a_killed_worker_hears_the_cause_and_waiting_jobs_are_served(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS)) as served:
        lost, waiting = served.ask(b"sleep 60"), served.ask(b"after")
        await until(lambda: served.pool.workers()[0].state is State.BUSY)
        os.kill(served.pid, signal.SIGKILL)
        answer = await lost.wait()
        # 507, as TorchServe answers for exit code 137: nobody here sent that signal, and the kernel does when memory runs out.
        assert (answer.status, answer.error_type) == (507, "InternalServerException")
        assert answer.body.decode() == (
            "Worker died. worker 1 of model m 1.0 was killed by SIGKILL while it answered (the kernel kills so when memory runs out:"
            " give it more, or use fewer workers or a smaller batch)"
        )
        assert await waiting.text() == "after"


async def test_a_handler_that_exits_ends_its_worker_and_its_code_is_told(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS)) as served:
        assert "worker 1 of model m 1.0 ended with exit code 3 while it answered" in await served.ask(b"exit 3").text()
        assert await served.ask(b"next").text() == "next"


async def test_a_native_crash_shows_its_last_words(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS)) as served:
        text = await served.ask(b"abort").text()
        assert "was killed by SIGABRT while it answered" in text
        failure = served.pool.failure()
        assert failure is not None
        assert any("handler.py" in line for line in failure.log_tail), "faulthandler prints where it stood"


async def test_a_handler_that_raises_keeps_its_worker(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS)) as served:
        pid = served.pid
        answer = await served.ask(b"raise").wait()
        assert answer.status == 503
        assert "such a row" in answer.body.decode()
        assert (await served.ask(b"memory").wait()).status == 507
        assert served.pid == pid


async def test_an_answer_over_the_bound_fails_alone(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS, response_bytes_max=1000)) as served:
        pid = served.pid
        answer = await served.ask(b"large 1001").wait()
        assert answer.status == 500
        assert answer.body.decode() == "the response has 1001 bytes, at most 1000 are allowed (raise max_response_size)"
        assert len((await served.ask(b"large 1000").wait()).body) == 1000
        assert served.pid == pid


async def test_a_worker_over_the_response_timeout_is_killed_and_says_where_it_stood(tmp_path: Path) -> None:
    spec = write_model(tmp_path, COMMANDS, response_timeout_seconds=0.2)
    async with serving(spec) as served:
        first = served.pid
        answer = await served.ask(b"sleep 60").wait()
        assert answer.status == 500
        assert "Worker died. worker 1 of model m 1.0 gave no answer within 0.2 s (responseTimeout) and was killed" in answer.body.decode()
        await until(lambda: not psutil.pid_exists(first))
        assert any("handler.py" in line and "in handle" in line for line in served.log), served.log
        assert await served.ask(b"next").text() == "next"


async def test_a_stopped_process_cannot_keep_its_place(tmp_path: Path) -> None:
    limits = Limits(answer_seconds=0.2, end_seconds=0.1)
    async with serving(write_model(tmp_path, COMMANDS), limits=limits) as served:
        first = served.pid
        os.kill(first, signal.SIGSTOP)
        assert "gave no answer within 0.2 s" in await served.ask(b"x").text()
        await until(lambda: not psutil.pid_exists(first))
        assert await served.ask(b"next").text() == "next"


async def test_a_worker_that_closes_its_link_and_lives_on_is_ended(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS), limits=Limits(end_seconds=0.1)) as served:
        first = served.pid
        assert "Worker died" in await served.ask(b"mute").text()
        assert not psutil.pid_exists(first)


async def test_what_a_handler_started_ends_with_its_worker(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS)) as served:
        grandchild = int(await served.ask(b"child").text())
        os.kill(served.pid, signal.SIGKILL)
        await until(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE)


async def test_a_missing_package_is_told_by_name_and_the_queue_answers_with_it(tmp_path: Path) -> None:
    spec = write_model(tmp_path, "import no_such_package_at_all\n" + ECHO)
    async with serving(spec, ready=False) as served:
        early = served.ask(b"early")
        with pytest.raises(NotReady, match="no_such_package_at_all"):
            await served.pool.wait_ready(now() + 20)
        failure = served.pool.failure()
        assert failure is not None
        assert failure.phase == "load"
        assert "ModuleNotFoundError" in failure.traceback_text
        answer = await early.wait()
        assert answer.status == 503
        assert "no_such_package_at_all" in answer.body.decode()
        with pytest.raises(NotReady, match="no_such_package_at_all"):
            served.ask(b"later")


async def test_a_repaired_model_comes_back_by_itself(tmp_path: Path) -> None:
    spec = write_model(tmp_path, "def handle(data, context): raise RuntimeError('no weights yet')")
    async with serving(spec, ready=False) as served:
        await until(lambda: served.pool.failure() is not None)
        write_model(tmp_path, ECHO)
        await until(lambda: served.pool.ready)
        assert served.pool.failure() is None
        assert await served.ask(b"back").text() == "back"


async def test_a_handler_that_exits_while_it_loads(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, "import os\nprint('no licence')\nos._exit(7)"), ready=False) as served:
        await until(lambda: served.pool.failure() is not None)
        failure = served.pool.failure()
        assert failure is not None
        assert failure.phase == "load"
        assert failure.message == 'worker 1 of model m 1.0 ended with exit code 7 while it loaded the model; its last line: "no licence"'


async def test_a_load_over_the_startup_timeout_is_its_own_failure(tmp_path: Path) -> None:
    spec = write_model(tmp_path, "import time\ntime.sleep(60)", startup_timeout_seconds=0.2)
    async with serving(spec, ready=False) as served:
        await until(lambda: served.pool.failure() is not None)
        failure = served.pool.failure()
        assert failure is not None
        assert failure.phase == "load"
        assert failure.message == "worker 1 of model m 1.0 did not load the model within 0.2 s (startupTimeout)"
        assert any("handler.py" in line for line in failure.log_tail)


async def test_waiting_for_readiness_has_an_end(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, "import time\ntime.sleep(60)"), ready=False) as served:
        with pytest.raises(TimedOut, match="has 0 of 1 workers"):
            await served.pool.wait_ready(now() + 0.1)


async def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path), FreshStarter("/no/such/python"), ready=False) as served:
        await until(lambda: served.pool.failure() is not None)
        failure = served.pool.failure()
        assert failure is not None
        assert failure.phase == "start"
        assert "could not be started" in failure.message


async def test_scaling_up_and_down_loses_nothing(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS)) as served:
        served.pool.scale(3, 3)
        await until(lambda: served.pool.ready)
        assert len(served.pool.workers()) == 3
        replies = [served.ask(b"sleep 0.2") for _ in range(6)]
        served.pool.scale(1, 1)
        assert [(await reply.wait()).status for reply in replies] == [200] * 6
        await until(lambda: len(served.pool.workers()) == 1)
        served.pool.scale(0, 0)
        await until(lambda: not served.pool.workers())
        with pytest.raises(NotReady, match="no worker"):
            served.ask(b"nobody there")


async def test_a_job_that_waits_long_brings_another_worker(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS, max_workers=2)) as served:
        long = served.ask(b"sleep 30")
        assert await served.ask(b"waits").text() == "waits"
        assert len(served.pool.workers()) == 2
        assert not long.answers


async def test_a_model_without_workers_gets_one_with_its_first_job(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, min_workers=0, max_workers=1)) as served:
        assert served.pool.workers() == ()
        assert await served.ask(b"first").text() == "first"


async def test_stopping_lets_a_batch_finish_within_the_grace(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS)) as served:
        reply = served.ask(b"sleep 0.2")
        await served.pool.stop(grace_seconds=10)
        assert (await reply.wait()).status == 200


async def test_stopping_ends_a_batch_that_is_longer_and_answers_it(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, COMMANDS)) as served:
        reply = served.ask(b"sleep 60")
        await until(lambda: served.pool.workers()[0].state is State.BUSY)
        await served.pool.stop(grace_seconds=0.1)
        assert "Worker died. worker 1 of model m 1.0 was killed by SIGKILL while it answered" in await reply.text()


async def test_a_pool_can_stop_while_its_workers_start(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, min_workers=3, max_workers=3), ready=False) as served:
        await served.pool.stop(grace_seconds=5)
        assert not served.pool.workers()


def test_workers_die_with_the_front(tmp_path: Path) -> None:
    spec = write_model(tmp_path, COMMANDS)
    front = textwrap.dedent(f"""
        import asyncio, sys
        from pathlib import Path
        from flambeau.serving.model import ModelSpec
        from flambeau.serving.workers.pool import WorkerPool
        from flambeau.serving.workers.starter import ForkStarter, FreshStarter

        async def main():
            forks = ForkStarter()
            pids = []
            for starter in (FreshStarter(), forks):
                pool = WorkerPool(ModelSpec("m", "1.0", Path({str(spec.directory)!r}), "m.mar", "handler.py"), starter)
                pool.start()
                await pool.wait_ready(asyncio.get_running_loop().time() + 60)
                pids.append(pool.workers()[0].pid)
            print(forks.pid, *pids, flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
    """)
    process = subprocess.Popen([sys.executable, "-c", front], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 3
        process.kill()
    assert psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)[1] == []
