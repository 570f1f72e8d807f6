from pathlib import Path

import pytest

from dmrc.errors import ProjectError
from dmrc.project import Replay

HERE = Path("/shop")


def test_a_directory_alone_means_a_replay() -> None:
    assert Replay.parse("./tapes", HERE) == Replay(directory="/shop/tapes", mode="replay")


def test_what_may_differ_does_not_switch_a_replay_on() -> None:
    replay = Replay.parse({"ignore": ["user_id", "/run-[0-9]+/"]}, HERE)

    assert replay == Replay(directory="/shop/cassettes", ignore=("user_id", "/run-[0-9]+/"))
    assert not replay.answers
    assert not replay.writes


def test_what_is_registered_is_read_again() -> None:
    replay = Replay.parse({"cassettes": "tapes", "mode": "replay-or-record", "speed": 0.5, "ignore": ["/a/"]}, HERE)

    assert Replay.from_json(replay.to_json()) == replay


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"mode": "play"}, "x-dmrc.replay.mode must be record, replay or replay-or-record, not 'play'"),
        ({"speed": -1}, "x-dmrc.replay.speed must be a number, 0 or more, not -1"),
        ({"ignore": ["/(/"]}, "x-dmrc.replay.ignore has /(/, which is no regular expression"),
        ({"casettes": "x"}, "x-dmrc.replay has no field 'casettes' (did you mean 'cassettes'?)"),
        (3, "x-dmrc.replay must be a mapping, not 3"),
    ],
)
def test_a_mistake_is_named_with_its_place(said: object, place: str) -> None:
    with pytest.raises(ProjectError) as caught:
        Replay.parse(said, HERE)

    assert place in str(caught.value)
