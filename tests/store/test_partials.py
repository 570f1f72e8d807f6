import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmrc.errors import CancelledError, DigestMismatchError, StoreError
from dmrc.store import PartialBlob, Store
from dmrc.store.journal import PIECE_BYTES

SIZE = 2 * PIECE_BYTES + 1000
DATA = hashlib.shake_128(b"blob").digest(SIZE)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def hold(store: Store, name: str = DIGEST, size_bytes: int = SIZE) -> PartialBlob:
    blob = store.open_partial(name, size_bytes)
    assert blob is not None
    return blob


def put(blob: PartialBlob, start: int, end: int) -> None:
    blob.write(start, DATA[start:end])


def files(store: Store) -> list[str]:
    return sorted(path.suffix for path in (store.root / "partial").iterdir())


def test_a_blob_comes_in_pieces_in_any_order_and_gets_its_name_at_the_end(store: Store) -> None:
    with hold(store) as blob:
        put(blob, PIECE_BYTES, SIZE)
        assert not blob.hash_some()
        assert not store.has_blob(DIGEST, SIZE)
        put(blob, 0, PIECE_BYTES)
        assert blob.missing() == []
        assert blob.finish(DIGEST) == DIGEST

    assert (store.root / "blobs/sha256" / DIGEST[7:]).read_bytes() == DATA
    assert files(store) == []


@pytest.mark.slow("dozens of downloads to the disk")
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, PIECE_BYTES), st.booleans()), max_size=8))
def test_whatever_order_and_interruptions_the_bytes_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    store = Store(tmp_path_factory.mktemp("property"))
    blob, received = hold(store).__enter__(), 0

    for number, count, is_interrupted in steps:
        gaps = blob.missing()
        if number < len(gaps):
            start, end = gaps[number]
            put(blob, start, min(start + count, end))
            received += min(count, end - start)
        if is_interrupted:
            blob.__exit__()
            blob = hold(store).__enter__()
        assert blob.received == received
    for start, end in blob.missing():
        put(blob, start, end)

    assert blob.finish(None) == DIGEST
    blob.__exit__()


def test_bytes_that_are_there_are_passed_over(store: Store) -> None:
    with hold(store) as blob:
        put(blob, 0, 100)
        blob.write(0, bytes(50) + DATA[50:200])

        assert blob.received == 200
        assert blob.missing()[0] == (200, PIECE_BYTES)
        with pytest.raises(ValueError, match="do not go on after byte 200"):
            put(blob, 300, 400)


def _write_and_die(root: Path) -> None:
    blob = hold(Store(root)).__enter__()
    put(blob, 0, 5_000_000)
    put(blob, PIECE_BYTES, PIECE_BYTES + 1_000_000)
    os.kill(os.getpid(), 9)


@pytest.mark.process
def test_a_killed_process_loses_nothing_that_it_wrote_and_holds_nothing(store: Store) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(store.root,))
    process.start()
    process.join(60)

    with hold(store) as blob:
        assert blob.received == 6_000_000
        assert blob.is_resumed
        for start, end in blob.missing():
            put(blob, start, end)
        assert blob.finish(DIGEST) == DIGEST


def test_one_holds_a_blob_at_a_time(store: Store) -> None:
    with hold(store) as blob:
        put(blob, 0, 100)
        assert store.open_partial(DIGEST, SIZE) is None
        assert store.partials.leftovers() == []

    with hold(store) as blob:
        assert blob.received == 100


def test_a_leftover_is_listed_and_removed(store: Store) -> None:
    with hold(store) as blob:
        put(blob, 0, 1_000_000)
    with hold(store, "https://example.com/x.gguf") as blob:
        put(blob, 0, 100)

    named, mine = store.partials.leftovers()

    assert (mine.path.name, named.path.name[:5]) == (f"{DIGEST.replace(':', '-')}.data", "name-")
    assert 1_000_000 <= mine.size_bytes < 1_100_000
    assert store.partials.remove(mine)
    assert not store.partials.remove(mine)
    with hold(store, "https://example.com/x.gguf"):
        assert not store.partials.remove(named)
    assert store.partials.remove(named)
    assert files(store) == []


def test_a_write_after_the_end_is_refused(store: Store) -> None:
    """A thread whose connection still delivers must not touch what another process holds by then."""
    with hold(store) as blob:
        put(blob, 0, 100)

    with pytest.raises(CancelledError):
        put(blob, 100, 200)


def test_other_bytes_than_the_digest_names_are_not_named(store: Store) -> None:
    with hold(store, size_bytes=3) as blob:
        blob.write(0, b"abc")
        with pytest.raises(DigestMismatchError, match="came with other bytes"):
            blob.finish(DIGEST)
        blob.restart()

    assert not store.has_blob(DIGEST, 3)
    assert files(store) == []


def test_a_blob_with_a_gap_is_not_named(store: Store) -> None:
    with hold(store) as blob:
        put(blob, PIECE_BYTES, SIZE)
        with pytest.raises(DigestMismatchError, match="but 0 came"):
            blob.finish(DIGEST)


@pytest.mark.parametrize("damage", ["journal cut", "journal garbled", "data cut", "data gone", "other size"])
def test_what_cannot_be_trusted_counts_as_nothing(damage: str, store: Store) -> None:
    with hold(store) as blob:
        put(blob, 0, 1_000_000)
    journal = next((store.root / "partial").glob("*.journal"))
    data = journal.with_suffix(".data")
    match damage:
        case "journal cut":
            os.truncate(journal, 40)
        case "journal garbled":
            journal.write_bytes(b"\xff" * journal.stat().st_size)
        case "data cut":
            os.truncate(data, 999_999)
        case "data gone":
            data.unlink()

    with hold(store, size_bytes=SIZE - 1 if damage == "other size" else SIZE) as blob:
        assert blob.received == 0
        assert not blob.is_resumed


def test_a_blob_without_bytes(store: Store) -> None:
    with hold(store, size_bytes=0) as blob:
        assert blob.missing() == []
        assert blob.finish(None) == f"sha256:{hashlib.sha256().hexdigest()}"


def test_a_blob_that_cannot_fit_is_refused_before_its_first_byte(store: Store) -> None:
    with pytest.raises(StoreError, match=r"disk of the model store .* is full"), hold(store, size_bytes=1 << 50):
        raise AssertionError("the block must not begin")

    assert files(store) == []


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
def test_a_disk_that_gets_full_is_told_as_such_and_given_its_room_back(store: Store) -> None:
    with pytest.raises(StoreError, match="is full"), hold(store) as blob:
        put(blob, 0, 1_000_000)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, blob._descriptor)
        os.close(full)
        put(blob, 1_000_000, 2_000_000)

    assert files(store) == []
