"""Names of models: snapshots of the store, read in threads and swapped on the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from dmrc.dialects.chat.engine_errors import too_long
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.vllm.engine import Vllm
from dmrc.engines.vllm.program import Program
from dmrc.errors import ModelNotFoundError
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gateway.serving.served import served_by
from dmrc.gateway.serving.targets import Use
from dmrc.gguf import GgufFacts
from dmrc.project import ModelDeclaration, ServingOptions
from dmrc.projects import Caller, Registration
from dmrc.reference import Reference
from dmrc.scheduler.configuration import Configurations
from dmrc.store import Store, StoredModel
from tests.dmrc_command import Dmrc
from tests.tiny_safetensors import write_tiny_llama_directory

_T = TypeVar("_T")


def catalog_of(dmrc: Dmrc, store: Store) -> Catalog:
    return Catalog(store, Configurations(dmrc.home / "projects.sqlite3"), {"llama.cpp": LlamaCpp(None)}, "docker.io")


async def package(dmrc: Dmrc, gguf: Path, context_size: int, name: str) -> None:
    await asyncio.to_thread(dmrc.ok, "package", "--gguf", gguf, "--context-size", str(context_size), name)


def test_who_began_before_a_tag_moved_leaves_nothing_old_behind(
    dmrc: Dmrc, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old model stood under the new state of the store, until its next change."""
    store = Store(dmrc.home / "store")
    has_read, may_go_on = threading.Event(), threading.Event()
    facts = store.facts

    def slow(model: StoredModel) -> GgufFacts | None:
        found = facts(model)
        if not has_read.is_set():
            has_read.set()
            may_go_on.wait(60)
        return found

    monkeypatch.setattr(store, "facts", slow)

    async def story() -> None:
        await package(dmrc, gguf, 64, "me/a")
        catalog = catalog_of(dmrc, store)
        first = asyncio.create_task(catalog.resolved(None, "me/a", "chat"))
        await asyncio.to_thread(has_read.wait, 20)
        before = await catalog.digest("me/a")

        await package(dmrc, gguf, 128, "me/a")
        after = (await catalog.resolved(None, "me/a", "chat")).target
        may_go_on.set()

        assert (await first).target.digest == before
        assert (await catalog.resolved(None, "me/a", "chat")).target is after
        assert after.digest == store.resolve("me/a").digest != before

    asyncio.run(story())


def test_a_text_too_long_for_a_directory_of_safetensors_is_told_what_it_was_trained_for(
    dmrc: Dmrc, tmp_path: Path
) -> None:
    """The remedy was a larger context_size, which is cut to what the model was trained for."""
    dmrc.ok("package", "--safetensors-dir", write_tiny_llama_directory(tmp_path / "tiny"), "me/tiny")
    engines = {"vllm": Vllm(Program(("/vllm",), "0.32.0", is_for_processors=True))}
    catalog = Catalog(Store(dmrc.home / "store"), Configurations(dmrc.home / "projects.sqlite3"), engines, "docker.io")

    served = served_by(asyncio.run(catalog.resolved(None, "me/tiny", "chat")).target, None)

    assert (served.context_size, served.trained_context) == (2048, 2048)
    assert too_long("", 2049, 2048, served).remedy == "Send less: the model was trained for 2048"


def test_the_event_loop_reads_no_file_and_a_header_is_read_once(
    dmrc: Dmrc, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words in a file's header can take a quarter of a second, in which everybody waited."""
    store = Store(dmrc.home / "store")
    readers: dict[str, list[str]] = {}

    def watched(name: str, read: Callable[..., _T]) -> Callable[..., _T]:
        def call(*arguments: object) -> _T:
            readers.setdefault(name, []).append(threading.current_thread().name)
            return read(*arguments)

        return call

    for name in ("facts", "read", "named", "files"):
        monkeypatch.setattr(store, name, watched(name, getattr(store, name)))

    async def story() -> None:
        await package(dmrc, gguf, 64, "me/a")
        catalog = catalog_of(dmrc, store)

        found = await asyncio.gather(*(catalog.resolved(None, "me/a", "chat") for _ in range(20)))
        await asyncio.to_thread(dmrc.ok, "tag", "me/a", "me/b")
        again = await catalog.resolved(None, "me/b", "chat")

        assert len({id(one.target) for one in found}) == 1
        assert again.target.key == found[0].target.key
        assert [len(readers[name]) for name in ("named", "facts")] == [2, 1]
        assert threading.main_thread().name not in {one for names in readers.values() for one in names}

    asyncio.run(story())


def test_a_request_looks_at_the_disk_once(dmrc: Dmrc, gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look is a system call on the event loop: two for each request were a twentieth of all it cost."""
    store = Store(dmrc.home / "store")
    looks: list[None] = []
    version = store.version
    declared = {"llm": ModelDeclaration(key="llm", model="me/a")}
    shop = Registration(name="shop", directory=str(dmrc.home), models=declared, services={"web": ("llm",)})

    async def story() -> None:
        await package(dmrc, gguf, 64, "me/a")
        catalog = catalog_of(dmrc, store)
        for caller in (None, Caller(key_id="0" * 12, service="web", registration=shop)):
            first = await catalog.resolved(caller, "me/a", "chat")
            with monkeypatch.context() as patched:
                patched.setattr(store, "version", lambda: (looks.append(None), version())[1])
                assert (await catalog.resolved(caller, "me/a", "chat")).target is first.target
        assert len(looks) == 2

    asyncio.run(story())


def test_a_snapshot_does_not_change_under_who_reads_it(dmrc: Dmrc, gguf: Path) -> None:
    async def story() -> None:
        await package(dmrc, gguf, 64, "me/a")
        catalog = catalog_of(dmrc, Store(dmrc.home / "store"))
        before = await catalog.now()
        assert await catalog.now() is before

        await asyncio.to_thread(dmrc.ok, "rm", "me/a")

        assert before.find("me/a") is not None
        assert (await catalog.now()).find("me/a") is None
        with pytest.raises(ModelNotFoundError):
            await catalog.full_name("me/a")

    asyncio.run(story())


def test_a_template_that_changes_without_a_word_is_read_anew(dmrc: Dmrc, gguf: Path) -> None:
    template = dmrc.home / "chat.jinja"
    template.write_text("one")
    options = ServingOptions(chat_template=str(template))
    use = Use("shop", "me/a", ModelDeclaration(key="llm", model="me/a", options=options))

    async def story() -> None:
        await package(dmrc, gguf, 64, "me/a")
        catalog = catalog_of(dmrc, Store(dmrc.home / "store"))
        first = await catalog.target(use, "chat")
        template.write_text("another")

        second = await catalog.target(use, "chat")

        assert (first.template, second.template) == ("one", "another")
        assert first.key != second.key

    asyncio.run(story())


_MODELS = 1000


def _fill(store: Store, digest: str) -> None:
    """Put as many models into the store that differ from this one in a note, past the lock and the fsync of each."""
    index = json.loads((store.root / "index.json").read_bytes())
    blobs = store.root / "blobs" / "sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
    for number in range(_MODELS):
        data = json.dumps({**manifest, "annotations": {"note": str(number)}}).encode()
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        tag = {"org.opencontainers.image.ref.name": f"docker.io/many/model{number}:latest"}
        entry = {"mediaType": manifest["mediaType"], "digest": f"sha256:{name}", "size": len(data)}
        index["manifests"].append({**entry, "annotations": tag})
    (store.root / "index.json").write_text(json.dumps(index))


def test_a_change_of_a_store_of_a_thousand_models_costs_milliseconds(dmrc: Dmrc, gguf: Path) -> None:
    """Only the index is read; what it names is read when it is asked for, and once."""
    dmrc.ok("package", "--gguf", gguf, "--context-size", "64", "me/a")
    store = Store(dmrc.home / "store")
    like = store.resolve("me/a")
    _fill(store, like.digest)

    async def story() -> tuple[float, float, float, float]:
        catalog = catalog_of(dmrc, store)
        first = await seconds(catalog.now())
        listed = await seconds(catalog.names(None))
        assert len(await catalog.names(None)) == _MODELS + 1
        changes = []
        for number in range(5):
            store.tag(like, Reference.parse(f"me/new{number}"))
            changes.append(await seconds(catalog.resolved(None, f"me/new{number}", "chat")))
        return first, listed, min(changes), await seconds(catalog.names(None))

    async def seconds(work: Awaitable[object]) -> float:
        began = time.perf_counter()
        await work
        return time.perf_counter() - began

    first, listed, changed, again = asyncio.run(story())

    print(f"index {first:.3f} s, list {listed:.3f} s, after a change {changed:.3f} s, list again {again:.3f} s")
    assert changed < 0.15
    assert again < listed
