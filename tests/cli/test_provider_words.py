"""The words of `dmrc compose up`, which Compose runs for a provider service."""

from __future__ import annotations

import pytest

from tests.dmrc_command import Dmrc


@pytest.mark.parametrize("flags", ["-ngl 99 --threads 4", "-h"])
@pytest.mark.parametrize("form", ["{}={}", "{} {}"])
def test_a_value_that_begins_with_a_dash_is_no_option(dmrc: Dmrc, flags: str, form: str) -> None:
    """The help was printed, and 0 the answer, for the `h` in `--threads`."""
    option = ["--runtime-flags", flags] if " " in form else [f"--runtime-flags={flags}"]

    done = dmrc.run("compose", "--project-name", "shop", "up", "--model", "me/tiny", *option, "llm")

    assert done.returncode != 0
    assert '"type": "error"' in done.stdout
    assert "Usage" not in done.stdout
