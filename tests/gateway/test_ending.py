"""The end of the daemon under work: transfers are cancelled, callers hear of it, and what others do keeps it alive."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator

import psutil
import pytest

from dmrc.errors import DaemonRunningError
from tests.dmrc_command import Dmrc
from tests.polling import eventually
from tests.slow_server import SlowServer, slow_server
from tests.synthetic_engine import synthetic_dmrc


@pytest.fixture
def slow() -> Iterator[SlowServer]:
    with slow_server() as server:
        yield server


def _post(dmrc: Dmrc, path: str, body: dict[str, object]) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers.get("content-type", "")


def _pid(dmrc: Dmrc) -> int:
    pid: int = json.loads(dmrc.ok("status", "--json"))["pid"]
    return pid


@contextlib.contextmanager
def _pulling(
    dmrc: Dmrc, slow: SlowServer, *, stream: bool
) -> Iterator["concurrent.futures.Future[tuple[int, bytes, str]]"]:
    dmrc.ok("configure", "show")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pull = pool.submit(_post, dmrc, "/api/pull", {"model": slow.url(), "stream": stream})
        assert slow.asked.wait(20)
        yield pull
        slow.ended.set()


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGHUP])
def test_an_end_during_a_pull_that_is_not_streamed_takes_seconds(
    dmrc: Dmrc, slow: SlowServer, number: signal.Signals | None
) -> None:
    with _pulling(dmrc, slow, stream=False) as pull:
        daemon = psutil.Process(_pid(dmrc))
        began = time.monotonic()
        if number is None:
            dmrc.ok("stop-runner")
        else:
            os.kill(daemon.pid, number)
        status, body, kind = pull.result(20)
        eventually(lambda: not daemon.is_running(), "end of the daemon")
        seconds = time.monotonic() - began

    assert status == 503
    assert kind == "application/json"
    assert "the daemon is stopping" in json.loads(body)["error"]
    assert not (dmrc.home / "run" / "admin.sock").exists()
    assert seconds < 15  # requests get two seconds, transfers three, and a process takes its time on a busy machine


def test_what_trickles_in_ends_as_soon(dmrc: Dmrc) -> None:
    """Between two bytes nobody looks whether a pull was cancelled."""
    with slow_server(trickles=True) as slow, _pulling(dmrc, slow, stream=False) as pull:
        daemon = psutil.Process(_pid(dmrc))
        began = time.monotonic()
        os.kill(daemon.pid, signal.SIGTERM)
        status, _, _ = pull.result(20)
        answered = time.monotonic() - began
        eventually(lambda: not daemon.is_running(), "end of the daemon")
        seconds = time.monotonic() - began

    print(f"answered after {answered:.2f} s, ended after {seconds:.2f} s")
    assert status == 503
    assert seconds < 15


def test_what_was_begun_is_undone_where_the_start_fails(dmrc: Dmrc) -> None:
    with socket.create_server(("127.0.0.1", dmrc.port)):
        failed = dmrc.run("serve", timeout=30)

    assert failed.returncode == 1
    assert f"port {dmrc.port} on 127.0.0.1 is taken" in failed.stderr
    assert not (dmrc.home / "run" / "admin.sock").exists()
    dmrc.ok("configure", "show")


def test_a_streamed_pull_ends_with_a_line(dmrc: Dmrc, slow: SlowServer) -> None:
    with _pulling(dmrc, slow, stream=True) as pull:
        dmrc.ok("stop-runner")
        _, body, _ = pull.result(20)

    assert "the daemon is stopping" in json.loads(body.splitlines()[-1])["error"]


def test_a_caller_who_hangs_up_ends_his_pull(dmrc: Dmrc, slow: SlowServer) -> None:
    dmrc.ok("configure", "show")
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    connection.request("POST", "/api/pull", json.dumps({"model": slow.url(), "stream": False}))
    assert slow.asked.wait(20)

    connection.close()

    eventually(lambda: json.loads(dmrc.ok("status", "--json"))["in_flight"] == 0, "end of the pull")


def test_who_started_the_daemon_does_not_stop_it_under_the_pull_of_another(dmrc: Dmrc, slow: SlowServer) -> None:
    """What a command does that started the daemon and fails: `stop` unless anything else runs."""
    client = dmrc.daemon_client()
    with _pulling(dmrc, slow, stream=False) as pull:
        stays = client.stop(unless="used")
        assert not pull.done()

    assert stays is False
    eventually(lambda: json.loads(dmrc.ok("status", "--json"))["in_flight"] == 0, "end of the pull")
    assert client.stop(unless="used") is True


def test_who_started_the_daemon_does_not_stop_it_under_a_command_that_works(
    dmrc: Dmrc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two `dmrc up` failed, and the other one, which was minting its keys, said that no daemon runs."""
    monkeypatch.setenv("DMRC_PORT", str(dmrc.port))  # for the daemon that is started
    starter, other = (dmrc.daemon_client() for _ in range(2))
    with contextlib.ExitStack() as work:
        with pytest.raises(InterruptedError), starter.needed():
            work.enter_context(other.needed())
            raise InterruptedError

        assert other.status() is not None

    assert starter.stop(unless="used") is True


def test_a_daemon_that_another_command_started_and_ended_at_once_is_started_again(
    dmrc: Dmrc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one held the lock when this one started its own, and was gone when it was asked."""
    monkeypatch.setenv("DMRC_PORT", str(dmrc.port))
    client = dmrc.daemon_client()
    start, was_late = client._start, iter((True, False))

    def start_late() -> None:
        if next(was_late):
            raise DaemonRunningError("another one serves this")
        start()

    monkeypatch.setattr(client, "_start", start_late)

    assert client.ensure()["port"] == dmrc.port


def test_who_watches_keeps_the_daemon_alive(dmrc: Dmrc) -> None:
    dmrc.ok("configure", "show")
    client = dmrc.daemon_client()
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    connection.request("GET", "/engines/requests", headers={"accept": "text/event-stream"})
    eventually(lambda: json.loads(dmrc.ok("status", "--json"))["in_flight"] == 1, "watcher")

    assert client.stop(unless="used") is False
    connection.close()
    eventually(lambda: client.stop(unless="used"), "end without a watcher")


def test_a_daemon_of_another_version_is_said_and_restarted_when_idle(dmrc: Dmrc, slow: SlowServer) -> None:
    """The version of the running one is the only thing that a test can change: by a plugin, which it loads."""
    plugin = dmrc.home / "older.py"
    plugin.write_text(
        "import sys\nif 'serve' in sys.argv:\n    import dmrc.gateway.routes.admin as a\n    a.__version__ = '0.0.9'\n"
    )
    with _pulling(_with(dmrc, plugin), slow, stream=False):
        old = _pid(dmrc)
        busy = dmrc.run("configure", "show")
        assert _pid(dmrc) == old
    eventually(lambda: json.loads(dmrc.ok("status", "--json"))["in_flight"] == 0, "end of the pull")
    dmrc.environment.pop("DMRC_PLUGINS")

    idle = dmrc.run("configure", "show")

    assert "the daemon is of version 0.0.9, and this is dmrc " in busy.stderr
    assert "it works, and stays" in busy.stderr
    assert "it was idle, and is restarted" in idle.stderr
    assert _pid(dmrc) != old
    assert "version" not in dmrc.run("configure", "show").stderr


def _with(dmrc: Dmrc, plugin: object) -> Dmrc:
    dmrc.environment["DMRC_PLUGINS"] = str(plugin)
    return dmrc


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_no_answered_request_is_missing_from_the_record_after_a_signal(number: signal.Signals) -> None:
    """A terminal that was closed under `dmrc serve` cost the record up to 71 of 200."""
    with synthetic_dmrc() as synthetic:
        dmrc = synthetic.dmrc

        def ask(_number: int) -> str | None:
            answer = synthetic.ask()
            answer.read()
            return answer.headers["x-dmrc-exchange-id"]

        daemon = psutil.Process(synthetic.pid)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answered = set(pool.map(ask, range(200)))
        os.kill(daemon.pid, number)
        eventually(lambda: not daemon.is_running(), "end of the daemon")

        recorded = {each["id"] for each in json.loads(dmrc.ok("requests", "--json", "-n", "1000"))}
        assert len(answered - {None}) == 200
        assert answered <= recorded
        assert not (dmrc.home / "run" / "admin.sock").exists()
