import json

import pytest

from tests.dmrc_command import Dmrc


@pytest.mark.engine
def test_each_level_has_its_rates(dmrc: Dmrc, tiny: str) -> None:
    few = ["bench", tiny, "--prompt", "Hi", "--tokens", "8", "--duration", "0"]

    header, *rows = dmrc.ok(*few, "--concurrency", "1,3").splitlines()
    (one, two) = json.loads(dmrc.ok(*few, "--concurrency", "1,2", "--json"))["results"]

    assert header.split() == ["CONCURRENCY", "REQUESTS", "PREFILL", "DECODE", "TOKENS/S", "REQUESTS/S"]
    assert [row.split()[:2] for row in rows] == [["1", "1"], ["3", "3"]]
    assert (one["Requests"], two["Requests"]) == (1, 2)
    assert two["TotalTokens"] == sum(two["TokenCounts"]) > 0
    assert two["TPS"] == pytest.approx(two["TotalTokens"] / two["TotalTime"] * 1e9, rel=0.01)
    assert min(two["PrefillTPS"], two["DecodeTPS"]) > 0


@pytest.mark.engine
def test_an_error_of_the_engine_is_in_its_words(dmrc: Dmrc, tiny: str) -> None:
    done = dmrc.run("bench", tiny, "--concurrency", "2", "--duration", "0")

    assert done.returncode == 5
    assert "context" in done.stderr


@pytest.mark.parametrize("levels", ["0", "1,x", ""])
def test_levels_that_are_none_are_refused(dmrc: Dmrc, levels: str) -> None:
    done = dmrc.run("bench", "ai/tiny", "--concurrency", levels)

    assert done.returncode == 2
    assert "must be a list of numbers from 1 to 256" in done.stderr
