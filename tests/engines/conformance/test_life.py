"""How every engine starts, is cancelled, and dies."""

import http.client
import json
from pathlib import Path

import pytest

from tests.engines.conformance.conftest import Served, compose
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama

# At temperature 0 it never ends by itself; by chance it may, after a few words.
LONG = {
    "model": "chat",
    "prompt": "A very long story about a whale and a ship:",
    "max_tokens": 450,
    "temperature": 0,
    "stream": True,
}


def open_stream(served: Served) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", served.dmrc.port, timeout=120)
    connection.request("POST", "/engines/v1/completions", json.dumps(LONG), {"authorization": f"Bearer {served.key}"})
    answer = connection.getresponse()
    assert answer.readline().startswith(b"data: ")
    return connection, answer


def test_a_caller_that_goes_away_frees_the_engine(served: Served) -> None:
    served.recovered()
    connection, answer = open_stream(served)

    answer.close()
    connection.close()

    eventually(lambda: served.in_use() == 0, "free slot", seconds=10)
    # The runner has one slot, so this one is served only when the engine has really stopped.
    answered = served.client.completions.create(model="chat", prompt="One", max_tokens=1, timeout=10)
    assert answered.choices


def test_a_crash_in_mid_stream_is_an_error_event_and_never_done(served: Served) -> None:
    served.recovered()
    connection, answer = open_stream(served)

    served.kill_children()

    rest = answer.read()
    connection.close()
    events = [line for line in rest.splitlines() if line.startswith(b"data: ")]
    assert b"[DONE]" not in rest
    assert "broke off" in json.loads(events[-1][6:])["error"]["message"]
    served.recovered()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path


def failure(served: Served, project: Path, inside: str) -> tuple[int, str]:
    """Return the exit code and the last line of a command that needs the model."""
    (project / "compose.yaml").write_text(compose({"llm": inside}).replace("conformance", "failing"))
    done = served.dmrc.run("exec", "app", "--", "true", cwd=project)
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_a_damaged_model_is_one_sentence_with_its_cause(served: Served, project: Path) -> None:
    if served.variant.engine == "upstream":
        return
    damaged = write_tiny_llama(project / "damaged.gguf")
    damaged.write_bytes(damaged.read_bytes().replace(b"blk.1.attn_v.weight", b"blk.1.attn_x.weight"))
    served.dmrc.ok("package", "--gguf", damaged, "local/damaged")

    code, line = failure(served, project, f"model: local/damaged, x-dmrc: {{engine: {served.variant.engine}}}")

    assert code == 5
    assert "does not start: the file has no tensor 'blk.1.attn_v.weight'" in line


def test_a_flag_that_is_unknown_is_named_before_anything_starts(served: Served, project: Path) -> None:
    inside = "model: local/smollm2, runtime_flags: ['--tmep', '1'], "
    upstream = "upstream: http://127.0.0.1:1/v1"
    option = upstream if served.variant.engine == "upstream" else f"engine: {served.variant.engine}"

    code, line = failure(served, project, f"{inside} x-dmrc: {{{option}}}")

    assert code == 2
    assert ("--tmep" in line) or ("runtime_flags has no effect on an upstream" in line)


def test_a_model_that_cannot_fit_is_refused_with_numbers(served: Served, project: Path) -> None:
    if served.variant.engine == "upstream":
        return
    served.dmrc.ok("package", "--gguf", write_tiny_llama(project / "vast.gguf", context_length=1 << 28), "local/vast")
    inside = f"model: local/vast, context_size: {1 << 28}, x-dmrc: {{engine: {served.variant.engine}}}"

    code, line = failure(served, project, inside)

    assert code == 5
    assert "GB is free" in line
