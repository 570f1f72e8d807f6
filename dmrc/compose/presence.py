"""Which compose projects have containers, told whenever one comes or goes."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dmrc.docker_context import is_local

if TYPE_CHECKING:
    import docker

_log = logging.getLogger(__name__)

_LABEL = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"
# Events are not counted on alone: a stream may end without a word, and is begun anew after this time at the latest.
_STREAM_SECONDS = 60
_AGAIN_SECONDS = 5.0
# Between the removal of one container and the start of its successor.
_GRACE_SECONDS = 1.0
_BY_DOCKER_SECONDS = 15.0


class Presence:
    """Listens to Docker engines in threads, and asks after each event which projects have containers.

    Stopped containers count. An engine that does not answer tells nothing: its containers may run.
    """

    def __init__(self, awaited: Callable[[str], set[str]], report: Callable[[str, set[str], set[str]], None]) -> None:
        """Call `report`, in a thread, with an engine, the projects there, and those of `awaited` that are not.

        `awaited` is asked before the engine is; what is not there has been gone for a second.
        """
        self._awaited = awaited
        self._report = report
        self._threads: dict[str, threading.Thread] = {}
        self._asked: set[str] = set()
        self._lock = threading.Lock()
        self._looks = ThreadPoolExecutor(1, "dmrc-presence")
        self._closed = threading.Event()

    def look(self, docker_host: str) -> None:
        """Ask an engine soon, and listen to it from now on. Returns at once."""
        with self._lock:
            if self._closed.is_set():
                return
            if docker_host not in self._threads:
                # It waits for bytes that may never come, so it must not keep the process.
                thread = threading.Thread(target=self._listen, args=(docker_host,), daemon=True)
                self._threads[docker_host] = thread
                thread.start()
            if docker_host not in self._asked:
                self._asked.add(docker_host)
                self._looks.submit(self._ask, docker_host)

    def close(self) -> None:
        """Listen no more; an answer that is awaited is not waited for."""
        with self._lock:
            self._closed.set()
        self._looks.shutdown(wait=False, cancel_futures=True)

    def _listen(self, docker_host: str) -> None:
        import docker.errors
        import requests

        wanted = {"type": "container", "event": ["create", "destroy"], "label": _LABEL}
        while not self._closed.is_set():
            try:
                client = _client(docker_host)
                try:
                    until = int(time.time()) + _STREAM_SECONDS  # docker-py sets no time limit for it
                    events = client.events(filters=wanted, decode=True, until=until)
                    self.look(docker_host)  # after the stream began, so that nothing falls between
                    for _ in events:
                        self.look(docker_host)
                finally:
                    client.close()
            except (docker.errors.DockerException, requests.RequestException, OSError) as error:
                _log.debug("Docker at %s says no more which containers come and go: %s", docker_host, error)
            self._closed.wait(_AGAIN_SECONDS)

    def _ask(self, docker_host: str) -> None:
        import docker.errors
        import requests

        with self._lock:
            self._asked.discard(docker_host)  # an event from now on is asked about anew
        awaited = self._awaited(docker_host)
        try:
            client = _client(docker_host)
            try:
                found = _projects(client)
                if awaited - found and not self._closed.wait(_GRACE_SECONDS):
                    found |= _projects(client)
            finally:
                client.close()
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            _log.debug("Docker at %s does not say which projects run: %s", docker_host, error)
            return
        if not self._closed.is_set():
            self._report(docker_host, found, awaited - found)


def containers_of(docker_host: str, project: str) -> Counter[str]:
    """Return how many containers each service of a project has, stopped ones too; none where Docker does not answer.

    An engine on another machine is asked by Docker's own program, which knows the way there.
    """
    import docker.errors
    import requests

    labels = [f"{_LABEL}={project}", f"{_ONE_OFF}=False"]
    if not is_local(docker_host):
        return _listed_by_docker(labels)
    try:
        client = _client(docker_host)
        try:
            listed = client.containers(all=True, filters={"label": labels})
        finally:
            client.close()
    except (docker.errors.DockerException, requests.RequestException, OSError):
        return Counter()
    return Counter(str(entry["Labels"].get(_SERVICE)) for entry in listed)


def _listed_by_docker(labels: Sequence[str]) -> Counter[str]:
    filters = [word for label in labels for word in ("--filter", f"label={label}")]
    command = ["docker", "ps", "--all", *filters, "--format", f'{{{{.Label "{_SERVICE}"}}}}']
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_BY_DOCKER_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return Counter()
    return Counter(asked.stdout.split())


def _client(docker_host: str) -> docker.APIClient:
    import docker

    return docker.APIClient(base_url=docker_host, timeout=_STREAM_SECONDS)


def _projects(client: docker.APIClient) -> set[str]:
    """Return the compose projects that have a container, stopped ones too."""
    listed = client.containers(all=True, filters={"label": _LABEL})
    return {str(entry["Labels"][_LABEL]) for entry in listed}
