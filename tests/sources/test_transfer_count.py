"""How fast a transfer is: only what came in this run counts."""

from dmrc.sources import ProgressEvent, TransferCount

MB = 1_000_000


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def down(layer: str, current: int, size: int, **more: bool) -> ProgressEvent:
    return ProgressEvent("Downloading", layer, current * MB, size * MB, **more)


def test_a_resumed_transfer_counts_what_was_there_as_done_and_not_as_fast() -> None:
    clock = Clock()
    count = TransferCount(clock)
    count.take(down("a", 300, 400, is_resumed=True))
    for second in range(1, 4):
        clock.now += 1
        count.take(down("a", 300 + 2 * second, 400))

    assert (count.done_bytes, count.size_bytes, count.came_bytes) == (306 * MB, 400 * MB, 6 * MB)
    assert count.rate() == 2 * MB


def test_a_layer_that_another_process_brought_counts_no_more() -> None:
    clock = Clock()
    count = TransferCount(clock)
    count.take(down("a", 10, 100))
    count.take(down("b", 50, 100))
    clock.now += 1
    count.take(down("b", 100, 100, was_there=True))
    clock.now += 1
    count.take(down("a", 20, 100))

    assert (count.done_bytes, count.size_bytes) == (20 * MB, 100 * MB)


def test_bytes_that_were_damaged_and_come_again_make_no_negative_rate() -> None:
    clock = Clock()
    count = TransferCount(clock)
    count.take(down("a", 90, 100, is_resumed=True))
    clock.now += 1
    count.take(down("a", 0, 100))
    for second in range(1, 3):
        clock.now += 1
        count.take(down("a", 10 * second, 100))

    assert count.rate() is not None
    assert 0 <= count.rate() <= 10 * MB


def test_a_rate_is_of_the_last_seconds_however_often_it_is_told() -> None:
    clock = Clock()
    count = TransferCount(clock)
    for tick in range(2000):
        clock.now += 0.01
        count.take(down("a", 0, 100) if tick < 1000 else ProgressEvent("Downloading", "a", (tick - 999) * 1000, MB))

    assert abs(count.rate() - 100_000) < 2_000
    assert TransferCount(clock).rate() is None
