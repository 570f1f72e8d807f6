"""Names of models in the shell: from the store alone, without a daemon, and in a bash that parts words at colons."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.store import Store
from tests.capture.recorded import many
from tests.dmrc_command import Dmrc
from tests.store.test_store import add


@pytest.fixture
def filled(dmrc: Dmrc) -> Dmrc:
    store = Store(dmrc.home / "store")
    for number, name in enumerate(["me/tiny:q4", "me/tiny:q8", "smollm2", "hf.co/org/model:Q4_K_M"]):
        add(store, name, gguf=str(number).encode())
    return dmrc


def complete(dmrc: Dmrc, line: str) -> list[str]:
    """Return what bash would offer for a line whose last word is unfinished; words are parted as bash parts them."""
    words = line.replace(":", " : ").split() + ([""] if line.endswith(" ") else [])
    script = f"""
        eval "$(_DMRC_COMPLETE=bash_source {dmrc.program})"
        COMP_WORDS=({" ".join(word or '""' for word in words)}); COMP_CWORD={len(words) - 1}
        _dmrc_completion {dmrc.program}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], env=dmrc.environment, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dmrc show ", ["hf.co/org/model:Q4_K_M", "me/tiny:q4", "me/tiny:q8", "smollm2"]),
        ("dmrc run me/", ["me/tiny:q4", "me/tiny:q8"]),
        ("dmrc run me/tiny:", ["q4", "q8"]),
        ("dmrc rm me/tiny:q", ["q4", "q8"]),
        ("dmrc rm smollm2 me/tiny:q8", ["q8"]),
        ("dmrc rm me/tiny:q4 smo", ["smollm2"]),
        ("dmrc inspect docker.io/me/tiny:q4", ["q4"]),
        ("dmrc tag sm", ["smollm2"]),
        ("dmrc package --from sm", ["smollm2"]),
        ("dmrc pull hf", ["hf.co/org/model:Q4_K_M"]),
        ("dmrc unload sm", ["smollm2"]),
        ("dmrc run ai/smol", ["ai/smollm2"]),
        ("dmrc run ai/", ["ai/smollm2"]),
        ("dmrc show docker.io/ai/s", ["docker.io/ai/smollm2:latest"]),
        ("dmrc ver", ["verify", "version"]),
        ("dmrc configure sm", ["smollm2"]),
        ("dmrc configure show me/tiny:q", ["q4", "q8"]),
        ("dmrc requests --model sm", ["smollm2"]),
    ],
)
def test_bash_is_offered_what_it_can_put_in(filled: Dmrc, line: str, offered: list[str]) -> None:
    assert complete(filled, line) == offered
    assert filled.processes() == []


@pytest.mark.parametrize("command", ["trace", "requests show"])
def test_ids_of_requests_are_offered_the_newest_first(dmrc: Dmrc, command: str) -> None:
    dmrc.home.mkdir(exist_ok=True)
    with closing(ExchangeDatabase(dmrc.home / "exchanges.sqlite3")) as database:
        database.insert_many(many(20))

    assert complete(dmrc, f"dmrc {command} 0000001") == [f"0000001{digit}" for digit in "3210"]
    assert complete(dmrc, f"dmrc {command} x") == []


def test_a_misspelt_command_is_no_traceback(dmrc: Dmrc) -> None:
    words = {"_DMRC_COMPLETE": "bash_complete", "COMP_WORDS": "dmrc nosuch ", "COMP_CWORD": "2"}

    done = dmrc.run(env=words)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_store_that_cannot_be_read_offers_nothing(filled: Dmrc) -> None:
    (filled.home / "store" / "index.json").write_text("{")

    assert complete(filled, "dmrc show ") == []


def test_completion_reads_the_index_and_no_model(filled: Dmrc) -> None:
    """A store may hold hundreds, and a person waits."""
    index = json.loads((filled.home / "store" / "index.json").read_text())
    for entry in index["manifests"]:
        Path(filled.home / "store/blobs/sha256" / entry["digest"][7:]).unlink()

    assert complete(filled, "dmrc show sm") == ["smollm2"]
