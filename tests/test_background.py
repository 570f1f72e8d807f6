"""Tasks that run beside their owner, and the rule that no other are begun."""

from __future__ import annotations

import ast
import asyncio
import gc
from collections.abc import Coroutine

import pytest

from dmrc.background import BackgroundTasks, begin, beside
from tests.syntax_trees import FILES, ROOT, nodes


async def fails() -> None:
    raise OSError(28, "No space left on device")


def run(story: Coroutine[object, object, None]) -> None:
    async def then_wait() -> None:
        await story
        await asyncio.sleep(0.01)

    asyncio.run(then_wait())


def test_what_a_task_raises_is_in_the_log_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    tasks = BackgroundTasks("work on the runners")

    async def story() -> None:
        tasks.spawn(fails())

    run(story())

    assert "work on the runners failed" in caplog.text
    assert "No space left on device" in caplog.text
    assert not tasks.running()


def test_what_its_owner_expects_is_the_owners_to_hear(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        task = begin(fails(), "a connection", expected=OSError)
        await asyncio.wait({task})

    run(story())
    gc.collect()  # asyncio complains of a task that nobody asked when it goes

    assert caplog.text == ""


def test_a_task_is_kept_until_it_is_done() -> None:
    """Asyncio holds tasks weakly: one that waits for what nobody else holds is collected in the middle of its work."""
    done: list[bool] = []

    async def waits() -> None:
        await asyncio.sleep(0.05)
        done.append(True)

    async def story() -> None:
        tasks = BackgroundTasks("a wait")
        task = tasks.spawn(waits())
        del task
        gc.collect()
        await asyncio.wait(tasks.running())

    run(story())

    assert done == [True]


def test_what_runs_beside_a_block_ends_with_it(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        with pytest.raises(KeyError), beside(asyncio.sleep(60), "a sleep") as task:
            raise KeyError
        await asyncio.wait({task})
        assert task.cancelled()

    run(story())

    assert caplog.text == ""


def test_close_waits_for_the_end_of_all() -> None:
    ended: list[int] = []

    async def ends_slowly(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(number)

    async def story() -> None:
        tasks = BackgroundTasks("a sleep")
        for number in range(3):
            tasks.spawn(ends_slowly(number))
        await asyncio.sleep(0)
        await tasks.close()

    run(story())

    assert sorted(ended) == [0, 1, 2]


def test_no_task_is_begun_that_reports_nothing() -> None:
    """A bare task keeps what it raises to itself, and may be collected before it is done."""
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path in FILES
        if path != ROOT / "background.py"
        for node in nodes(path)
        if isinstance(node, ast.Attribute | ast.Name)
        for name in [node.attr if isinstance(node, ast.Attribute) else node.id]
        if name in ("create_task", "ensure_future")
    ]

    assert not bare, "use `dmrc.background`"
