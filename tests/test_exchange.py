"""The ids of exchanges, and how one is made of another."""

from __future__ import annotations

import dataclasses
import os
import re
import threading
import time

import pytest

from dmrc.exchange import Exchange, changed, exchange_of, id_at, new_exchange_id

UUID7 = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_an_id_is_a_uuid_of_version_7_that_sorts_by_time() -> None:
    before = time.time()

    first = new_exchange_id()
    time.sleep(0.002)
    second = new_exchange_id()

    assert UUID7.fullmatch(first) and UUID7.fullmatch(second)
    assert id_at(before) <= first < second < id_at(time.time() + 1)


def test_threads_make_different_ids() -> None:
    made: list[str] = []

    def make() -> None:
        made.extend([new_exchange_id() for _ in range(2000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 8000


@pytest.mark.process
def test_a_forked_process_makes_others_than_its_parent() -> None:
    new_exchange_id()  # so that some are drawn
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(new_exchange_id()[14:] for _ in range(10)).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        theirs = pipe.read().split()

    assert len(theirs) == 10
    assert not {new_exchange_id()[14:] for _ in range(500)} & set(theirs)


def test_one_made_of_another_is_as_dataclasses_make_it() -> None:
    asked = Exchange(id="1", method="POST", path="/v1", operation="chat", received_at=1.5, annotations={"a": 1})
    values = [getattr(asked, one.name) for one in dataclasses.fields(Exchange)]

    made, news = exchange_of(values), changed(asked, {"status": 200, "annotations": {}})

    assert made == asked and type(made) is Exchange
    assert news == dataclasses.replace(asked, status=200, annotations={}) and asked.status is None
    assert dataclasses.replace(news, status=None).status is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        news.status = 500  # type: ignore[misc]
    with pytest.raises(AttributeError):
        changed(asked, {"no_such_field": 1})
    with pytest.raises(TypeError):
        exchange_of(values[1:])
