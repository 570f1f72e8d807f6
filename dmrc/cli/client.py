"""Talks to the daemon over its unix socket, and starts it when a command needs it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, cast
from urllib.parse import quote, urlencode

from dmrc import __version__
from dmrc.cli.admin import Admin
from dmrc.errors import DaemonError, DaemonNotRunningError, DaemonRunningError, DmrcError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.projects import Registration
from dmrc.settings import Settings
from dmrc.told_errors import error_document, told_error

_START_SECONDS = 120.0
_LONGEST_LINE = 300
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.05


class DaemonClient:
    """The daemon of this user's `DMRC_HOME`."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        self._settings = settings
        self._admin = Admin(settings.paths)

    def status(self) -> JsonObject | None:
        """Return the daemon's status, or None when it does not run.

        Raises:
            DaemonError: It runs, and does not answer.
        """
        try:
            return cast(JsonObject, self.request("GET", "/status"))
        except DaemonNotRunningError:
            return None

    def ensure(self, status: JsonObject | None = None) -> JsonObject:
        """Start the daemon unless it runs, and return its status; who has just asked for that gives it.

        Raises:
            DaemonError: It does not start; the message is its own.
        """
        deadline = time.monotonic() + _STOP_SECONDS
        while (status := status or self.status()) is None:
            try:
                self._start()
            except DaemonRunningError:  # another command starts or ends one at the same moment
                if time.monotonic() > deadline:
                    raise
        if status["version"] != __version__:
            status = self._renewed(status)
        if status["port"] != self._settings.port:
            raise DaemonError(
                f"the daemon of '{self._settings.home}' listens on port {status['port']}, not {self._settings.port}",
                remedy="Set DMRC_PORT to that, or run: dmrc stop-runner",
            )
        return status

    @contextlib.contextmanager
    def needed(self) -> Iterator[None]:
        """Have the daemon run for the work inside.

        When that fails, a daemon that was started for it ends again, unless another command uses it by now.
        """
        status = self.status()
        ran_before = status is not None
        try:
            with self._used(status):
                yield
        except BaseException:
            if not ran_before:
                with contextlib.suppress(DaemonError):
                    self.stop(unless="used")
            raise

    @contextlib.contextmanager
    def _used(self, status: JsonObject | None) -> Iterator[None]:
        """Start the daemon unless it runs, and be one of its users: no other command ends it meanwhile."""
        deadline = time.monotonic() + _STOP_SECONDS
        while True:
            self.ensure(status)
            status = None
            with contextlib.ExitStack() as stack:
                is_used = False
                with contextlib.suppress(DaemonNotRunningError):  # another command has just ended it
                    is_used = stack.enter_context(self._admin.used())
                if is_used:
                    yield
                    return
            if time.monotonic() > deadline:
                raise DaemonError("the daemon does not stop", remedy=f"See {self._settings.paths.daemon_log}")
            time.sleep(_LOOK_SECONDS)

    def _renewed(self, status: JsonObject) -> JsonObject:
        """Replace a daemon of another version when it is idle, and say so; return the status of the one that runs."""
        from dmrc.cli.progress import note

        said = f"the daemon is of version {status['version']}, and this is dmrc {__version__}"
        # An old one does not count its calls: then it must have neither projects nor runners.
        if not self.stop(unless="busy" if "in_flight" in status else "used"):
            note(f"{said}: it works, and stays. To end it: dmrc stop-runner")
            return status
        note(f"{said}: it was idle, and is restarted")
        with contextlib.suppress(DaemonRunningError):
            self._start()
        return cast(JsonObject, self.request("GET", "/status"))

    def stop(self, *, unless: Literal["used", "busy"] | None = None) -> bool:
        """End the daemon, wait until it is gone, and return True; False where it stays.

        It stays `unless="used"` where it has a project, a runner, or any call; `unless="busy"` where it works just now.

        Raises:
            DaemonError: It does not run, or does not end.
        """
        status = cast(JsonObject, self.request("GET", "/status"))
        answer = cast(JsonObject, self.request("POST", f"/stop?unless={unless}" if unless else "/stop"))
        deadline = time.monotonic() + _STOP_SECONDS
        while answer["stopping"] and _exists(int(str(status["pid"]))):
            if time.monotonic() > deadline:
                raise DaemonError("the daemon does not stop", remedy=f"See {self._settings.paths.daemon_log}")
            time.sleep(_LOOK_SECONDS)
        return bool(answer["stopping"])

    def request(self, method: str, path: str, body: str | None = None) -> JsonValue:
        """Ask the admin API, and return its JSON.

        Raises:
            DaemonNotRunningError: It does not run.
            DaemonError: It runs, and does not answer.
            DmrcError: What the daemon answered, as the same class of error.
        """
        status, document = self._admin.ask(method, path, body)
        if status >= 400:
            raise told_error(document.get("error") if isinstance(document, dict) else None)
        return document

    def lines(self, method: str, path: str, body: str) -> Iterator[JsonObject]:
        """Yield the lines of an answer of the admin API, each a JSON object; raises as `request`."""
        for status, document in self._admin.lines(method, path, body):
            found = document if isinstance(document, dict) else {}
            if status >= 400:
                raise told_error(found.get("error"))
            yield found

    def events(self, path: str) -> Iterator[tuple[str, JsonObject]]:
        """Yield the Server-Sent Events of the admin API, each with its name, until the daemon ends."""
        return self._admin.events(path)

    def hang_up(self) -> None:
        """End the requests that other threads wait for; they fail with `DaemonError`."""
        self._admin.hang_up()

    def join(self, registration: Registration) -> None:
        """Add the services of a registration to its project."""
        self.request("POST", f"/projects/{quote(registration.name, safe='')}/join", registration.to_json())

    def hand_over_secrets(self, project: str, values: Sequence[str]) -> None:
        """Tell what of a project must not be recorded; to be done before its first request can come."""
        self.request("PUT", f"/projects/{quote(project, safe='')}/secrets", json.dumps(values))

    def leave(self, project: str, service: str, *, keep_key: bool = False) -> None:
        """Let go of the runners that only one service uses, and end its key unless it is to be kept."""
        path = f"/projects/{quote(project, safe='')}/services/{quote(service, safe='')}"
        if keep_key:
            self.request("POST", f"{path}/rest")
        else:
            self.request("DELETE", path)

    def load(self, project: str, key: str, *, wait: bool = True) -> JsonObject:
        """Load a model of a project, and return its runner when it answers; without `wait` return nothing, at once."""
        path = f"/projects/{quote(project, safe='')}/load/{quote(key, safe='')}"
        return cast(JsonObject, self.request("POST", path if wait else f"{path}?wait=0"))

    def preload(self, model: str, *, wait: bool = True) -> None:
        """Load a model of the store for the requests to come."""
        self.request("POST", "/load" if wait else "/load?wait=0", json.dumps({"model": model}))

    def runners(self) -> list[JsonObject]:
        """Return the runners; none when the daemon does not run.

        Raises:
            DaemonError: It runs, and does not answer.
        """
        try:
            return cast(list[JsonObject], self.request("GET", "/runners"))
        except DaemonNotRunningError:
            return []

    def replica_log(self, runner: str, replica: str, lines: int) -> str:
        """Return the last lines that a replica of a runner printed.

        Raises:
            DmrcError: There is none, or it cannot be had.
        """
        words = urlencode({"runner": runner, "replica": replica, "lines": lines})
        answer = cast(JsonObject, self.request("GET", f"/replica-log?{words}"))
        return str(answer["text"])

    def _start(self) -> None:
        """Start the daemon in a session of its own, and wait until it listens or says why it cannot.

        The child writes one line to a pipe: `ready`, or its error as JSON.
        """
        paths = self._settings.paths.create()
        reader, writer = os.pipe()
        with open(paths.daemon_log, "ab", opener=_private) as log, os.fdopen(reader) as answer:
            log_start = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "dmrc", "serve", "--ready-fd", str(writer)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writer],
                start_new_session=True,
                cwd="/",
                env={**os.environ, **self._settings.absolute()},
            )
            os.close(writer)
            if not select.select([answer], [], [], _START_SECONDS)[0]:
                process.kill()
                process.wait()
                raise DaemonError(
                    f"the daemon was not ready after {_START_SECONDS:.0f} s", remedy=f"See {paths.daemon_log}"
                )
            line = answer.readline().strip()
        if line == "ready":
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        if line.startswith("{"):
            raise told_error(json.loads(line))
        said = _last_line(paths.daemon_log, log_start)
        code = process.returncode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        raise DaemonError(
            f"the daemon ended at once, {how}{f': {said}' if said else ''}", remedy=f"The log: {paths.daemon_log}"
        )


def _exists(pid: int) -> bool:
    """Return whether the process lives. One that has ended stays in the table until whoever started it looks."""
    import psutil

    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_line(log: Path, start: int) -> str:
    """Return the last line that a daemon wrote: of a traceback the error itself."""
    with contextlib.suppress(OSError), log.open("rb") as stream:
        stream.seek(start)
        lines = stream.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:_LONGEST_LINE]
    return ""


def error_line(error: DmrcError) -> str:
    """Return an error as the line that a daemon writes which cannot start."""
    return json.dumps(error_document(error))
