import multiprocessing
import os
from pathlib import Path

import pytest

from dmrc import artifact
from dmrc.artifact import Descriptor, ModelConfig, build_manifest, write_config
from dmrc.errors import ArtifactError, DigestMismatchError, InvalidReferenceError, ModelNotFoundError, StoreError
from dmrc.reference import Reference
from dmrc.store import BlobMissingError, Store, StoredModel
from tests.tiny_gguf import write_tiny_llama


def put(store: Store, data: bytes) -> tuple[str, int]:
    with store.write_blob() as writer:
        writer.write(data)
    return str(writer.digest), len(data)


def add(store: Store, *names: str, gguf: bytes = b"weights", media_type: str = artifact.GGUF) -> StoredModel:
    layers = [Descriptor(media_type, *put(store, gguf))]
    config = Descriptor(artifact.CONFIG, *put(store, write_config(ModelConfig(format="gguf"), layers)))
    return store.add(build_manifest(config, layers), [Reference.parse(name) for name in names])


def blobs(store: Store) -> set[str]:
    return {path.name for path in (store.root / "blobs/sha256").iterdir()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_an_empty_store_has_no_models_and_reading_it_writes_nothing(store: Store) -> None:
    assert store.models() == []
    with pytest.raises(ModelNotFoundError, match=r"model 'x/y' is not in the store\. Run: dmrc pull x/y"):
        store.resolve("x/y")
    assert not store.root.exists()


def test_a_model_is_found_by_every_form_of_its_name(store: Store) -> None:
    model = add(store, "gemma3")
    hexadecimal = model.digest.removeprefix("sha256:")
    names = ["gemma3", "gemma3:latest", "ai/gemma3", "docker.io/ai/gemma3:latest", f"ai/gemma3@{model.digest}"]

    for name in [*names, model.digest, hexadecimal, hexadecimal[:12]]:
        assert store.resolve(name) == model
    for name in ["gemma", "gemma3:v2", "other/gemma3", "0" * 12, "0" * 64, "sha256:" + "0" * 64]:
        with pytest.raises(
            ModelNotFoundError, match=r"is not in the store( \(did you mean 'ai/gemma3'\?\))?\. Run: dmrc"
        ):
            store.resolve(name)
    assert model.tags == ("docker.io/ai/gemma3:latest",)
    assert model.pulled_at is not None


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("smolm2", "ai/smollm2:135M-Q4_1"),
        ("ai/smollm2", "ai/smollm2:135M-Q4_1"),
        ("ai/smollm2:135M-Q4_0", "ai/smollm2:135M-Q4_1"),
        ("ai/smollm2:360M-Q4_0", "ai/smollm2:360M-Q4_1"),
        ("ai/qwen", "local/qwen"),
        ("local/qwem", "local/qwen"),
        ("ai/phi4", None),
        ("ai/llama", None),
    ],
)
def test_a_name_that_is_nearly_one_of_the_store_is_told(store: Store, asked: str, near: str | None) -> None:
    for name in ("ai/smollm2:135M-Q4_1", "ai/smollm2:360M-Q4_1", "local/qwen"):
        add(store, name)

    with pytest.raises(ModelNotFoundError) as error:
        store.resolve(asked)

    hint = f" (did you mean '{near}'?)" if near else ""
    assert error.value.message == f"model '{asked}' is not in the store{hint}"
    is_misspelt = asked in ("smolm2", "local/qwem")  # to pull that would be no help
    assert error.value.remedy == ("Run: dmrc list" if is_misspelt else f"Run: dmrc pull {asked}")


def test_a_default_registry_changes_what_a_short_name_means(store: Store) -> None:
    model = add(store, "localhost:5000/ai/gemma3")

    assert store.resolve("gemma3", "localhost:5000") == model
    with pytest.raises(ModelNotFoundError):
        store.resolve("gemma3")


def test_a_new_model_takes_the_tag_and_the_old_one_stays_without(store: Store) -> None:
    old = add(store, "gemma3")
    new = add(store, "gemma3", gguf=b"new weights")

    assert store.resolve("gemma3") == new
    assert store.resolve(old.digest).tags == ()
    assert len(store.models()) == 2
    assert store.remove(old.digest).deleted == (old.digest,)


def test_tags_are_added_and_taken_away_one_by_one(store: Store) -> None:
    model = add(store, "a/b:v1")
    store.tag(model, Reference.parse("a/b:v2"))
    tagged = store.tag(model, Reference.parse("a/b:v3"))
    with pytest.raises(InvalidReferenceError):
        store.tag(model, Reference.parse(f"a/b@{model.digest}"))

    removed = store.remove("a/b:v1")

    assert tagged.tags == ("docker.io/a/b:v1", "docker.io/a/b:v2", "docker.io/a/b:v3")
    assert (removed.untagged, removed.deleted) == (("docker.io/a/b:v1",), ())
    assert store.resolve("a/b:v2").tags == ("docker.io/a/b:v2", "docker.io/a/b:v3")


@pytest.mark.parametrize("form", [lambda model: model.digest[7:19], lambda model: f"a/b@{model.digest}"])
def test_an_id_with_several_tags_must_be_forced(store: Store, form: object) -> None:
    model = add(store, "a/b:v1", "a/b:v2")
    text = form(model)

    with pytest.raises(StoreError, match=r"\(must be forced\) due to multiple tag references"):
        store.remove(text)
    assert store.models() == [model]
    removed = store.remove(text, force=True)

    assert removed.untagged == ("docker.io/a/b:v1", "docker.io/a/b:v2")
    assert removed.deleted == (model.digest,)
    assert store.models() == []
    assert blobs(store) == set()


def test_removal_keeps_blobs_that_another_model_uses(store: Store) -> None:
    kept, gone = add(store, "kept", gguf=b"shared"), add(store, "gone", gguf=b"other")
    layers = list(kept.manifest.layers)
    config = Descriptor(artifact.CONFIG, *put(store, write_config(ModelConfig(format="gguf", context_size=9), layers)))
    variant = store.add(build_manifest(config, layers), [Reference.parse("variant")])

    store.remove("variant")
    store.remove("gone")

    assert [model.digest for model in store.models()] == [kept.digest]
    assert store.files(kept).path.read_bytes() == b"shared"
    assert variant.manifest.config.digest[7:] not in blobs(store)
    assert gone.manifest.layers[0].digest[7:] not in blobs(store)


def test_a_blob_with_other_bytes_never_gets_its_name(store: Store) -> None:
    digest = "sha256:" + "ab" * 32

    with pytest.raises(DigestMismatchError, match="came with other bytes"), store.write_blob(digest, 3) as writer:
        writer.write(b"abc")

    assert blobs(store) == set()


def test_a_blob_with_another_size_never_gets_its_name(store: Store) -> None:
    digest, _ = put(store, b"abc")
    before = blobs(store)

    with pytest.raises(DigestMismatchError, match="more came"), store.write_blob(digest, 2) as writer:
        writer.write(b"abc")
    with pytest.raises(DigestMismatchError, match="3 came"), store.write_blob(digest, 4) as writer:
        writer.write(b"abc")

    assert blobs(store) == before


def test_an_interrupted_write_leaves_nothing(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.write_blob() as writer:
        writer.write(b"abc")
        raise KeyboardInterrupt

    assert blobs(store) == set()


def test_a_blob_that_cannot_fit_is_refused_before_its_first_byte(store: Store) -> None:
    with pytest.raises(StoreError, match=r"disk of the model store .* is full"), store.write_blob(None, 1 << 60):
        raise AssertionError("the block must not begin")


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
def test_a_disk_that_gets_full_is_told_as_such(store: Store) -> None:
    with pytest.raises(StoreError, match="is full"), store.write_blob() as writer:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, writer._descriptor)
        os.close(full)
        writer.write(b"abc")

    assert blobs(store) == set()


def test_a_copy_does_not_share_the_users_file(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "x.gguf"
    source.write_bytes(os.urandom(20 << 20))
    content = source.read_bytes()
    with store.write_blob() as writer:
        writer.copy(source)
    source.write_bytes(b"changed")

    blob = store.root / "blobs/sha256" / str(writer.digest)[7:]

    assert blob.read_bytes() == content
    assert put(store, content)[0] == writer.digest


def test_a_copy_works_where_the_kernel_cannot(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "x.gguf"
    source.write_bytes(os.urandom(9 << 20))
    monkeypatch.delattr(os, "copy_file_range", raising=False)

    with store.write_blob() as writer:
        writer.copy(source)

    assert writer.digest == put(store, source.read_bytes())[0]


def test_a_model_whose_blob_is_missing_is_not_added(store: Store) -> None:
    layers = [Descriptor(artifact.GGUF, "sha256:" + "ab" * 32, 3)]
    config = Descriptor(artifact.CONFIG, *put(store, write_config(ModelConfig(format="gguf"), layers)))

    with pytest.raises(BlobMissingError, match="abab"):
        store.add(build_manifest(config, layers))

    assert store.models() == []


def test_files_of_a_damaged_model_are_not_given_out(store: Store) -> None:
    model = add(store, "gemma3")
    blob = store.root / "blobs/sha256" / model.manifest.layers[0].digest[7:]
    blob.unlink()

    with pytest.raises(StoreError, match=r"missing or not whole\. Run: dmrc pull gemma3"):
        store.files(model)
    with pytest.raises(StoreError, match="gemma3"):
        store.facts(model)


def test_a_list_reads_no_weights(store: Store) -> None:
    """Headers of GGUF files are large, and a store may have hundreds."""
    model = add(store, "gemma3")
    (store.root / "blobs/sha256" / model.manifest.layers[0].digest[7:]).unlink()

    assert store.models() == [model]


def test_a_model_in_a_format_that_is_not_known_is_not_served(store: Store) -> None:
    model = add(store, "x", media_type="application/vnd.docker.ai.dduf")

    with pytest.raises(ArtifactError, match="model 'x' has no GGUF file and no safetensors"):
        store.files(model)


def test_facts_come_from_the_file(store: Store, tmp_path: Path) -> None:
    path = write_tiny_llama(tmp_path / "x.gguf", context_length=128)
    model = add(store, "tiny", gguf=path.read_bytes())

    assert store.facts(model).context_length == 128
    assert store.files(model).path.read_bytes() == path.read_bytes()


def test_a_damaged_index_is_named(store: Store) -> None:
    add(store, "gemma3")
    (store.root / "index.json").write_text("{")

    with pytest.raises(StoreError, match=r"index\.json' is damaged"):
        store.models()


def test_a_model_with_a_damaged_manifest_is_left_out(store: Store) -> None:
    kept, damaged = add(store, "kept"), add(store, "damaged", gguf=b"x")
    path = store.root / "blobs/sha256" / damaged.digest[7:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"schemaVersion", b"schemaversion"))

    assert store.models() == [kept]


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError, match="file/store"):
        add(Store(tmp_path / "file" / "store"), "x")


def _add_many(root: Path, number: int) -> None:
    store = Store(root)
    for index in range(5):
        add(store, f"m{number}:v{index}", gguf=f"{number} {index}".encode())
        add(store, f"shared:v{number}", gguf=b"shared")
        if index == 2:
            store.remove(f"m{number}:v0")


@pytest.mark.process
def test_many_processes_change_the_store_at_once(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_many, args=(store.root, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * 4
    tags = {tag for model in store.models() for tag in model.tags}
    assert len(tags) == 4 * 4 + 4
    assert not [name for name in blobs(store) if name.endswith(".part")]
    for model in store.models():
        store.files(model)
