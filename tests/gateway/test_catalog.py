"""Names of models, asked for by the event loop and by threads at the same time."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gguf import GgufFacts
from dmrc.scheduler.configuration import Configurations
from dmrc.store import Store, StoredModel
from tests.dmrc_command import Dmrc


def test_who_began_before_a_tag_moved_leaves_nothing_old_behind(
    dmrc: Dmrc, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old model stood under the new state of the store, until its next change."""
    dmrc.ok("package", "--gguf", gguf, "--context-size", "64", "me/a")
    store = Store(dmrc.home / "store")
    catalog = Catalog(store, Configurations(dmrc.home / "projects.sqlite3"), {"llama.cpp": LlamaCpp(None)}, "docker.io")
    has_read, may_go_on = threading.Event(), threading.Event()
    resolve = store.resolve

    def slow(name: str, registry: str = "docker.io") -> StoredModel:
        found = resolve(name, registry)
        if threading.current_thread() is not threading.main_thread():
            has_read.set()
            may_go_on.wait(60)
        return found

    monkeypatch.setattr(store, "resolve", slow)
    thread = threading.Thread(target=catalog.full_name, args=("me/a",))
    thread.start()
    assert has_read.wait(20)
    before = resolve("me/a", "docker.io").digest

    dmrc.ok("package", "--gguf", gguf, "--context-size", "128", "me/a")
    catalog.targets_of([], ["me/b"])  # the loop sees the change first
    may_go_on.set()
    thread.join()

    target = catalog.target(None, "me/a", None, "chat")
    assert target.digest == resolve("me/a", "docker.io").digest != before


def test_the_event_loop_reads_no_file_of_a_model(dmrc: Dmrc, gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words in a file's header can take a quarter of a second, in which everybody waited."""
    dmrc.ok("package", "--gguf", gguf, "--context-size", "64", "me/a")
    store = Store(dmrc.home / "store")
    catalog = Catalog(store, Configurations(dmrc.home / "projects.sqlite3"), "docker.io")
    readers: list[str] = []
    facts = store.facts

    def read(model: StoredModel) -> GgufFacts:
        readers.append(threading.current_thread().name)
        return facts(model)

    monkeypatch.setattr(store, "facts", read)

    first = asyncio.run(catalog.resolved(None, "me/a", "chat"))
    again = asyncio.run(catalog.resolved(None, "me/a", "chat"))

    assert again.target is first.target
    assert len(readers) == 1
    assert readers != [threading.main_thread().name]
