import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from dmrc.errors import (
    DmrcError,
    GgufError,
    InputError,
    InvalidReferenceError,
    ModelNotFoundError,
    RegistryError,
    StoreError,
)
from dmrc.models import Models, Parts, describe
from dmrc.reference import Reference
from dmrc.sources import ProgressEvent, Transfer
from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny.gguf", context_length=256)


def new_models(root: Path, default_registry: str = "docker.io") -> tuple[Store, Models]:
    store = Store(root)
    source = OciSource(DockerCredentials(root / "no-docker"), default_registry=default_registry)
    return store, Models(store, [source], default_registry)


@pytest.fixture
def both(tmp_path: Path) -> tuple[Store, Models]:
    return new_models(tmp_path / "store")


def test_a_packaged_model_is_described_as_docker_model_runner_would(both: tuple[Store, Models], tiny: Path) -> None:
    store, models = both

    model = models.package(Parts(gguf=tiny), "tiny")

    described = describe(model)
    assert store.resolve("tiny") == model
    assert described["id"] == model.digest
    assert described["tags"] == ["docker.io/ai/tiny:latest"]
    assert described["created"] == model.pulled_at
    config = described["config"]
    assert config.pop("gguf")["general.name"] == "Tiny"
    assert config == {
        "format": "gguf",
        "quantization": "F16",
        "parameters": "141.38 K",
        "architecture": "llama",
        "size": "276.75 KiB",
    }


def test_the_same_files_always_give_the_same_id(tmp_path: Path, tiny: Path) -> None:
    extra = {"licenses": [tmp_path / "LICENSE"], "chat_template": tmp_path / "chat.jinja", "mmproj": tiny}
    (tmp_path / "LICENSE").write_text("be kind")
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    first_store, first = new_models(tmp_path / "first")
    _, second = new_models(tmp_path / "second")

    one = first.package(Parts(gguf=tiny, context_size=128, **extra), "one")
    os.utime(tiny, (1, 1))
    other = second.package(
        Parts(
            gguf=tiny.rename(tmp_path / "renamed.gguf"),
            context_size=128,
            **{**extra, "mmproj": tmp_path / "renamed.gguf"},
        ),
        "two",
    )

    assert one.digest == other.digest
    assert describe(one)["config"]["context_size"] == 128
    files = first_store.files(one)
    assert files.chat_template.read_text() == "{{ messages }}"
    assert files.mmproj is not None
    assert first.package(Parts(gguf=tmp_path / "renamed.gguf"), "three").digest != one.digest


def test_packaging_copies_and_tells_how_far_it_is(both: tuple[Store, Models], tiny: Path) -> None:
    store, models = both
    events: list[ProgressEvent] = []
    content = tiny.read_bytes()

    model = models.package(Parts(gguf=tiny), "tiny", progress=events.append)
    tiny.write_bytes(b"changed")

    assert store.files(model).gguf.read_bytes() == content
    assert (events[-1].layer, events[-1].current_bytes) == ("tiny.gguf", len(content))


def test_a_split_model_is_packaged_by_its_first_file(both: tuple[Store, Models], tmp_path: Path) -> None:
    store, models = both
    whole = models.package(Parts(gguf=write_tiny_llama(tmp_path / "whole.gguf")), "whole")
    first = write_tiny_llama(tmp_path / "split.gguf", split_max_tensors=8)

    model = models.package(Parts(gguf=first), "split")

    files = store.files(model)
    assert files.gguf.name == "model-00001-of-00003.gguf"
    assert sorted(path.name for path in files.gguf.parent.iterdir())[-1] == "model-00003-of-00003.gguf"
    assert files.gguf.stat().st_nlink == 2
    assert store.files(model) == files
    assert store.facts(model).parameters == store.facts(whole).parameters
    assert model.config.size == whole.config.size
    store.remove("split")
    assert not files.gguf.exists()


def test_a_split_model_must_be_whole(both: tuple[Store, Models], tmp_path: Path) -> None:
    _, models = both
    first = write_tiny_llama(tmp_path / "x.gguf", split_max_tensors=8)
    second, third = (first.with_name(f"x-0000{number}-of-00003.gguf") for number in (2, 3))

    with pytest.raises(InputError, match=r"is not the first file of a split model\. Name '.*00001-of-00003.gguf'"):
        models.package(Parts(gguf=second), "x")
    third.unlink()
    with pytest.raises(InputError, match=r"x-00003-of-00003\.gguf' is not there"):
        models.package(Parts(gguf=first), "x")
    with pytest.raises(InputError, match="one of 3 files of a split model, but is not named as such"):
        models.package(Parts(gguf=first.rename(tmp_path / "x.gguf")), "x")


def test_bad_input_leaves_nothing_behind(both: tuple[Store, Models], tmp_path: Path, tiny: Path) -> None:
    store, models = both
    (tmp_path / "x.gguf").write_bytes(b"PK\3\4 no model")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    with pytest.raises(GgufError, match=r"x\.gguf' is not a GGUF file: "):
        models.package(Parts(gguf=tmp_path / "x.gguf"), "x")
    with pytest.raises(GgufError, match=r"x\.gguf' is not a GGUF file: "):
        models.package(Parts(gguf=tiny, mmproj=tmp_path / "x.gguf"), "x")
    for bad in (
        lambda: models.package(Parts(gguf=tmp_path / "missing.gguf"), "x"),
        lambda: models.package(Parts(gguf=tmp_path), "x"),
        lambda: models.package(Parts(gguf=tiny, chat_template=tmp_path / "binary"), "x"),
        lambda: models.package(Parts(gguf=tiny, licenses=[tmp_path / "missing"]), "x"),
        lambda: models.package(Parts(gguf=tiny, context_size=0), "x"),
    ):
        with pytest.raises(InputError):
            bad()
    for target in ("a:b:c", "", "x@sha256:" + "a" * 64):
        with pytest.raises(InvalidReferenceError):
            models.package(Parts(gguf=tiny), target)
    assert store.models() == []
    assert not list(store.root.rglob("*.part"))


@pytest.mark.registry
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


@pytest.mark.registry
def test_a_present_model_needs_no_network(registry: RegistryServer, both: tuple[Store, Models], tiny: Path) -> None:
    _, models = both
    registry.push_model("ai/tiny:latest", tiny)
    first = models.pull(f"{registry.address}/ai/tiny")
    registry.stop()

    again = models.pull(f"{registry.address}/ai/tiny")

    assert again.was_present
    assert (again.digest, again.reference) == (first.digest, first.reference)
    assert models.pull(first.digest[7:19]).reference == first.reference
    with pytest.raises(RegistryError):
        models.pull(f"{registry.address}/ai/tiny", refresh=True)


@pytest.mark.registry
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


@pytest.mark.registry
def test_a_damaged_model_is_pulled_again(registry: RegistryServer, both: tuple[Store, Models], tiny: Path) -> None:
    store, models = both
    registry.push_model("ai/tiny:latest", tiny)
    name = f"{registry.address}/ai/tiny"
    models.pull(name)
    store.files(store.resolve(name)).gguf.unlink()

    assert not models.pull(name).was_present
    assert store.files(store.resolve(name)).gguf.read_bytes() == tiny.read_bytes()


def _pull(root: Path, name: str, results: multiprocessing.SimpleQueue) -> None:
    results.put(new_models(root)[1].pull(name).was_present)


@pytest.mark.registry
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
    assert store.files(store.resolve(name)).gguf.stat().st_size == tiny.stat().st_size + (30 << 20)
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
    models = Models(Store(tmp_path), [slow])

    def pull(cancelled: threading.Event, progress: object) -> None:
        with pytest.raises(DmrcError, match="cancelled"):
            models.pull("slow/x", progress, cancelled=cancelled.is_set)

    def hear(event: ProgressEvent) -> None:
        events.append(event)
        waits.set()

    first = threading.Thread(target=pull, args=(stop, None))
    first.start()
    slow.started.wait(5)
    second_stop = threading.Event()
    second = threading.Thread(target=pull, args=(second_stop, hear))
    second.start()
    assert waits.wait(5)
    second_stop.set()
    second.join(5)
    stop.set()
    first.join(5)

    assert [event.status for event in events] == ["Waiting for another pull of slow/x"]
    assert not first.is_alive()
    assert not second.is_alive()


def test_a_name_that_no_source_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no source of models knows 'other/x'"):
        Models(Store(tmp_path), [Slow()]).pull("other/x")
    with pytest.raises((InvalidReferenceError, ModelNotFoundError)):
        new_models(tmp_path)[1].pull("sha256:" + "0" * 64)


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError):
        Models(Store(tmp_path / "file")).package(Parts(gguf=tiny), "x")
