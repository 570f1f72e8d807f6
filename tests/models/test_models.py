"""Models that are pulled: found, shared between processes, refused."""

import multiprocessing
import threading
from pathlib import Path

import pytest

from dmrc.errors import (
    DmrcError,
    InputError,
    InvalidReferenceError,
    ModelNotFoundError,
    StoreError,
)
from dmrc.models import Models, Parts
from dmrc.reference import Reference
from dmrc.sources import ProgressEvent, Transfer
from dmrc.store import Store
from tests.models.conftest import new_models
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama


@pytest.mark.parametrize("form", ["{0}", "{0}:latest", "ai/{0}", "{1}/ai/{0}:latest", "{0}@{2}", "{1}/ai/{0}@{2}"])
def test_a_model_is_pulled_by_every_form_of_its_name(
    form: str, registry: RegistryServer, tmp_path: Path, tiny: Path
) -> None:
    digest = registry.push_model("ai/tiny:latest", tiny)
    store, models = new_models(tmp_path / "store", registry.address)
    text = form.format("tiny", registry.address, digest)

    pulled = models.pull(text)

    assert (pulled.digest, pulled.was_present) == (digest, False)
    assert pulled.reference == str(Reference.parse(text, default_registry=registry.address))
    model = store.resolve(text, registry.address)
    assert model.tags == (pulled.reference,)
    assert store.facts(model).context_length == 256
    assert store.remove(text, default_registry=registry.address).deleted == (digest,)


def test_a_present_model_needs_no_network(registry: RegistryServer, both: tuple[Store, Models], tiny: Path) -> None:
    _, models = both
    registry.push_model("ai/tiny:latest", tiny)
    first = models.pull(f"{registry.address}/ai/tiny")
    registry.stop()

    again = models.pull(f"{registry.address}/ai/tiny")

    assert again.was_present
    assert (again.digest, again.reference) == (first.digest, first.reference)
    assert models.pull(first.digest[7:19]).reference == first.reference
    refreshed = models.pull(f"{registry.address}/ai/tiny", refresh=True)
    assert refreshed.was_present
    assert refreshed.not_compared


def test_refresh_takes_what_the_tag_names_now(
    registry: RegistryServer, both: tuple[Store, Models], tiny: Path, tmp_path: Path
) -> None:
    store, models = both
    name = f"{registry.address}/ai/tiny"
    old = registry.push_model("ai/tiny:latest", tiny)
    models.pull(name)
    assert models.pull(name, refresh=True).was_present
    new = registry.push_model("ai/tiny:latest", write_tiny_llama(tmp_path / "new.gguf", seed=1))

    assert models.pull(name).digest == old
    refreshed = models.pull(name, refresh=True)

    assert (refreshed.digest, refreshed.was_present) == (new, False)
    assert store.resolve(name).digest == new


def test_a_damaged_model_is_pulled_again(registry: RegistryServer, both: tuple[Store, Models], tiny: Path) -> None:
    store, models = both
    registry.push_model("ai/tiny:latest", tiny)
    name = f"{registry.address}/ai/tiny"
    models.pull(name)
    store.files(store.resolve(name)).path.unlink()

    assert not models.pull(name).was_present
    assert store.files(store.resolve(name)).path.read_bytes() == tiny.read_bytes()


def _pull(root: Path, name: str, results: multiprocessing.SimpleQueue) -> None:
    results.put(new_models(root)[1].pull(name).was_present)


def test_processes_that_pull_the_same_model_share_one_pull(
    registry: RegistryServer, both: tuple[Store, Models], tiny: Path
) -> None:
    store, _ = both
    name = f"{registry.address}/ai/tiny"
    registry.push_model("ai/tiny:latest", tiny.read_bytes() + bytes(30 << 20))
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [context.Process(target=_pull, args=(store.root, name, results)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(store.models()) == 1
    assert store.files(store.resolve(name)).path.stat().st_size == tiny.stat().st_size + (30 << 20)
    assert not list(store.root.rglob("*.part"))


class Slow:
    """A source that never ends by itself."""

    name = "slow"

    def __init__(self) -> None:
        self.started = threading.Event()

    def recognize(self, text: str) -> Reference | None:
        return Reference.parse(text) if text.startswith("slow/") else None

    def fetch(self, text: str, transfer: Transfer) -> bytes:
        self.started.set()
        transfer.pause(60)
        raise AssertionError


def test_who_waits_for_another_pull_hears_of_it_and_can_be_cancelled(tmp_path: Path) -> None:
    slow, events, stop, waits = Slow(), [], threading.Event(), threading.Event()
    models = Models(Store(tmp_path), lambda: [slow])

    def pull(cancelled: threading.Event, progress: object) -> None:
        with pytest.raises(DmrcError, match="cancelled"):
            models.pull("slow/x", progress, cancelled=cancelled.is_set)

    def hear(event: ProgressEvent) -> None:
        events.append(event)
        waits.set()

    first = threading.Thread(target=pull, args=(stop, None))
    first.start()
    assert slow.started.wait(30)
    second_stop = threading.Event()
    second = threading.Thread(target=pull, args=(second_stop, hear))
    second.start()
    assert waits.wait(30)
    second_stop.set()
    second.join(30)
    stop.set()
    first.join(30)

    assert [event.status for event in events] == ["Waiting for another pull of slow/x"]
    assert not first.is_alive()
    assert not second.is_alive()


def test_a_name_that_no_source_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no source of models knows 'other/x'"):
        Models(Store(tmp_path), lambda: [Slow()]).pull("other/x")
    with pytest.raises((InvalidReferenceError, ModelNotFoundError)):
        new_models(tmp_path)[1].pull("sha256:" + "0" * 64)


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError):
        Models(Store(tmp_path / "file")).package(Parts(gguf=tiny), "x")
