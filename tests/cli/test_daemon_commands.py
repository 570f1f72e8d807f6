"""The daemon and what asks it: started by itself or in the foreground, told to end, killed, and doubled."""

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dmrc import __version__
from tests.cli.refusals import write_project
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually
from tests.processes import command_of
from tests.tiny_gguf import write_tiny_llama


def _status(dmrc: Dmrc) -> dict[str, object]:
    found: dict[str, object] = json.loads(dmrc.run("status", "--json").stdout)
    return found


@contextmanager
def _foreground(dmrc: Dmrc) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [dmrc.program, "serve"],
        env=dmrc.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        eventually(lambda: process.poll() is not None or _status(dmrc)["running"] is True)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_with_its_signal_and_takes_its_models_along(dmrc: Dmrc, tiny: str, number: signal.Signals) -> None:
    with _foreground(dmrc) as process:
        dmrc.ok("run", tiny, "Hi")
        assert len(dmrc.processes()) > 1

        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=20)

    assert process.returncode == 0
    assert stdout == ""
    assert f"dmrc serves http://127.0.0.1:{dmrc.port}/engines/v1; Ctrl+C ends it" in stderr
    assert "Traceback" not in stderr
    assert dmrc.processes() == []
    assert [path.name for path in (dmrc.home / "run").iterdir() if path.suffix == ".sock"] == []


def test_status_tells_whether_and_where(dmrc: Dmrc, tiny: str, project: Path) -> None:
    before = dmrc.run("status")
    dmrc.ok("env", "web", cwd=project)
    shown, status = dmrc.ok("status"), _status(dmrc)

    assert before.returncode == 1
    assert before.stdout == "The daemon does not run. It starts by itself: dmrc up, dmrc run, or dmrc serve\n"
    assert f"http://127.0.0.1:{dmrc.port}/engines/v1" in shown
    assert re.search(r"^Projects: +shop$", shown, re.MULTILINE)
    assert status["running"] is True
    assert status["version"] == __version__
    assert status["addresses"] == ["127.0.0.1"]
    assert (status["port"], status["home"], status["projects"]) == (dmrc.port, str(dmrc.home), ["shop"])
    assert psutil.pid_exists(int(str(status["pid"])))


def test_stop_runner_ends_the_daemon_and_keeps_the_project_and_its_key(dmrc: Dmrc, tiny: str, project: Path) -> None:
    variables = dmrc.ok("env", "web", "--format", "json", cwd=project)

    stopped = dmrc.run("stop-runner")
    again = dmrc.run("stop-runner")

    assert (stopped.returncode, stopped.stderr) == (0, "the daemon has stopped\n")
    assert (again.returncode, again.stderr) == (0, "the daemon does not run\n")
    assert dmrc.processes() == []
    assert dmrc.ok("env", "web", "--format", "json", cwd=project) == variables
    assert _status(dmrc)["projects"] == ["shop"]


@pytest.mark.engine
def test_ps_shows_a_runner_and_unload_ends_it(dmrc: Dmrc, tiny: str) -> None:
    header = "MODEL ENGINE MODE STATE CONTEXT SLOTS WAITING PROCESSOR MEMORY PROMPT CACHE UNTIL"
    assert dmrc.ok("ps").split() == header.split()
    dmrc.ok("run", tiny, "Hi")

    (row,) = dmrc.ok("ps").splitlines()[1:]
    (runner,) = json.loads(dmrc.ok("ps", "--json"))
    unloaded = json.loads(dmrc.ok("unload", tiny, "--json"))

    assert row.split()[:7] == [tiny, "llama.cpp", "completion", "ready", "64", "0/4", "0"]
    assert row.endswith("from now")
    assert re.search(r" \d+\.\d\d GB, 0 % reused  ", row)
    assert runner["model"] == f"docker.io/{tiny}:latest"
    assert runner["memory_resident_bytes"] > 0
    assert unloaded == {"unloaded": [f"docker.io/{tiny}:latest"]}
    assert json.loads(dmrc.ok("ps", "--json")) == []
    assert dmrc.ok("unload", "--all") == "Unloaded 0 model(s).\n"


@pytest.mark.engine
def test_ps_shows_what_is_in_use_and_what_waits_for_memory(dmrc: Dmrc, tmp_path: Path) -> None:
    gguf = write_tiny_llama(tmp_path / "long.gguf", context_length=1 << 17)
    dmrc.ok("package", "--gguf", gguf, "--context-size", "50000", "me/a")
    dmrc.ok("package", "--gguf", gguf, "--context-size", "45000", "me/b")
    dmrc.environment["DMRC_MEMORY"] = "120MiB"  # one takes about 100
    command = [dmrc.program, "run", "me/a", "Hi"]
    with subprocess.Popen(command, env=dmrc.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.read(1)
        with subprocess.Popen([*command[:2], "me/b", "Hi"], env=dmrc.environment, stdin=subprocess.DEVNULL) as second:
            eventually(lambda: len(json.loads(dmrc.ok("ps", "--json"))) == 2, "second line")

            busy, waiting = dmrc.ok("ps").splitlines()[1:]

            second.kill()
        eventually(lambda: len(json.loads(dmrc.ok("ps", "--json"))) == 1, "end of the second line")
        first.kill()
    assert re.search(r"^me/a +llama.cpp +completion +ready +50000 +1/\d +0 +.* in use$", busy)
    assert re.search(
        r"^me/b +llama.cpp +completion +waiting +45000 +0/- +1 +- +- +- +waits for memory, \d+ seconds?$", waiting
    )


@pytest.mark.engine
def test_run_says_how_long_the_model_stays(dmrc: Dmrc, tiny: str) -> None:
    refused = dmrc.run("run", "--keep-alive", "soon", tiny, "Hi")
    dmrc.ok("run", "--keep-alive", "-1", tiny, "Hi")
    (kept,) = json.loads(dmrc.ok("ps", "--json"))
    dmrc.ok("run", "--keep-alive", "0", tiny, "Hi")

    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--keep-alive must be a duration, not 'soon'. Use 5m, 1h, 0 or -1" in refused.stderr
    assert (kept["keep_alive_seconds"], kept["expires_at"]) == (-1, None)
    eventually(lambda: json.loads(dmrc.ok("ps", "--json")) == [], "end of the runner")


@pytest.mark.parametrize("is_up", [True, False])
def test_unload_of_what_does_not_run_says_so(dmrc: Dmrc, tiny: str, project: Path, is_up: bool) -> None:
    if is_up:
        dmrc.ok("env", "web", cwd=project)

    done = dmrc.run("unload", tiny)

    assert (done.returncode, done.stderr) == (3, f"dmrc: no such model runs: {tiny}. See: dmrc ps\n")


def test_version_names_the_daemon_and_the_engines(dmrc: Dmrc, tiny: str, project: Path) -> None:
    assert "daemon:  does not run" in dmrc.ok("version")
    dmrc.ok("env", "web", cwd=project)

    shown = json.loads(dmrc.ok("version", "--json"))

    assert (shown["dmrc"], shown["daemon"]) == (__version__, __version__)
    assert shown["engines"]["llama.cpp"]
    assert f"dmrc:    {__version__}\n" in dmrc.ok("version")


@pytest.mark.engine
def test_requests_can_be_filtered_counted_and_read_by_programs(dmrc: Dmrc, tiny: str, project: Path) -> None:
    empty = dmrc.run("requests")
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "no request was recorded yet\n")
    variables = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=project))
    _ask(variables, "from the web service")
    dmrc.ok("run", tiny, "from nobody")

    everything = json.loads(dmrc.ok("requests", "--json"))
    of_web = json.loads(dmrc.ok("requests", "--project", "shop", "--service", "web", "--json"))

    assert [(each["project"], each["service"]) for each in everything] == [("shop", "web"), (None, None)]
    assert of_web == everything[:1]
    assert of_web[0]["status"] == 200
    assert of_web[0]["completion_tokens"] == 3
    assert json.loads(dmrc.ok("requests", "-n", "1", "--json")) == everything[1:]
    assert json.loads(dmrc.ok("requests", "--service", "other", "--json")) == []
    header, first, second = dmrc.ok("requests").splitlines()
    assert "TOOK" in header.split()
    assert "shop/web" in first
    assert "from the web service" in first
    assert "from nobody" in second


def _ask(variables: dict[str, str], prompt: str) -> None:
    body = {"model": variables["OPENAI_MODEL"], "max_tokens": 3, "messages": [{"role": "user", "content": prompt}]}
    request = urllib.request.Request(
        f"{variables['OPENAI_BASE_URL']}/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {variables['OPENAI_API_KEY']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        json.load(answer)


@pytest.mark.engine
def test_two_state_directories_are_two_daemons_that_never_meet(
    dmrc: Dmrc, tiny: str, gguf: Path, project: Path
) -> None:
    with temporary_dmrc() as other:
        other.ok("package", "--gguf", gguf, "me/other")
        dmrc.ok("run", tiny, "Hi")
        other.ok("env", "web", cwd=write_project(project.parent / "other", "me/other"))

        assert _status(dmrc)["pid"] != _status(other)["pid"]
        assert (_status(dmrc)["projects"], _status(other)["projects"]) == ([], ["shop"])
        assert len(json.loads(dmrc.ok("ps", "--json"))) == 1
        assert json.loads(other.ok("ps", "--json")) == []
        assert [len(each.ok("list", "-q").split()) for each in (dmrc, other)] == [1, 1]
        assert json.loads(other.ok("requests", "--json")) == []
        other.ok("stop-runner")
        assert _status(dmrc)["running"] is True


def test_a_daemon_on_another_port_is_named(dmrc: Dmrc, tiny: str, project: Path) -> None:
    dmrc.ok("env", "web", cwd=project)

    done = dmrc.run("env", "web", cwd=project, env={"DMRC_PORT": "9"})

    assert done.returncode == 1
    assert f"listens on port {dmrc.port}, not 9. Set DMRC_PORT to that, or run: dmrc stop-runner" in done.stderr
    assert _status(dmrc)["projects"] == ["shop"]


def test_commands_that_start_the_daemon_at_the_same_moment_all_work(dmrc: Dmrc, tiny: str, tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        project = write_project(tmp_path / name, tiny)
        (project / "compose.yaml").write_text((project / "compose.yaml").read_text().replace("shop", name))
    with ThreadPoolExecutor(len(names)) as pool:
        done = list(pool.map(lambda name: dmrc.run("env", "web", cwd=tmp_path / name), names))

    assert [each.returncode for each in done] == [0] * len(names), [each.stderr for each in done]
    assert sorted(map(str, _status(dmrc)["projects"])) == names  # type: ignore[call-overload]
    assert len([each for each in dmrc.processes() if " serve " in command_of(each)]) == 1


@pytest.mark.engine
def test_a_daemon_that_was_killed_is_started_again_and_its_keys_are_still_good(
    dmrc: Dmrc, tiny: str, project: Path
) -> None:
    """Its admin socket is still there, and nobody listens; its engine children end with it."""
    variables = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=project))
    dmrc.ok("run", tiny, "Hi")
    psutil.Process(int(str(_status(dmrc)["pid"]))).kill()
    eventually(lambda: dmrc.processes() == [])
    assert (dmrc.home / "run" / "admin.sock").exists()

    assert dmrc.run("status").returncode == 1
    assert dmrc.ok("ps", "--json") == "[]\n"
    assert json.loads(dmrc.ok("env", "web", "--format", "json", cwd=project)) == variables
    _ask(variables, "still there?")
