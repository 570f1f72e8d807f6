"""A real Kubernetes without containers: API server, scheduler and controllers, and nodes that are played by kwok.

What it accepts, places and rolls out is as anywhere; no container runs, and a pod is ready as soon as it has a node.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kubernetes.programs import kubernetes_programs
from tests.polling import eventually
from tests.ports import free_port

_START_SECONDS = 90
_STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running Kubernetes."""

    programs: Path
    """The directory with its programs, kubectl too."""
    kubeconfig: Path

    def run(self, *arguments: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `kubectl ARGUMENTS…` as an administrator."""
        return subprocess.run(
            [self.programs / "kubectl", "--kubeconfig", self.kubeconfig, *arguments],
            env={**os.environ, "HOME": str(self.kubeconfig.parent)},  # where it keeps what it has looked up
            input=input or "",
            capture_output=True,
            text=True,
            timeout=180,
        )

    def kubectl(self, *arguments: str | Path, input: str | None = None) -> str:
        """Run kubectl, fail the test unless it exits 0, and return what it printed to stdout."""
        done = self.run(*arguments, input=input)
        assert done.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return done.stdout

    def get(self, kind: str, *arguments: str) -> list[dict]:
        """Return all objects of a kind."""
        return json.loads(self.kubectl("get", kind, *arguments, "--output", "json"))["items"]

    def apply(self, documents: Sequence[Mapping[str, object]]) -> str:
        """Send documents to the API server; unknown fields are refused."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        return self.kubectl("apply", "--validate=strict", "-f", "-", input=json.dumps(items))

    @contextmanager
    def namespace(self, name: str, *labels: str) -> Iterator[Namespace]:
        """Make a namespace, and delete it at the end without waiting until it is gone."""
        self.kubectl("create", "namespace", name)
        if labels:
            self.kubectl("label", "namespace", name, *labels)
        yield Namespace(self, name)
        self.kubectl("delete", "namespace", name, "--wait=false")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace of a cluster, for one project."""

    cluster: Cluster
    name: str

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `kubectl ARGUMENTS…` there."""
        return self.cluster.run("--namespace", self.name, *arguments)

    def kubectl(self, *arguments: str | Path) -> str:
        """Run kubectl there, fail the test unless it exits 0, and return what it printed to stdout."""
        return self.cluster.kubectl("--namespace", self.name, *arguments)

    def get(self, kind: str) -> list[dict]:
        """Return all objects of a kind there."""
        return self.cluster.get(kind, "--namespace", self.name)

    def settled(self, seconds: float = 60) -> list[dict]:
        """Wait until each Deployment has all its Pods of its newest template ready, and none else; return the Pods."""

        def look() -> list[dict] | None:
            deployments = self.get("deployments")
            return self.get("pods") if deployments and all(map(_is_settled, deployments)) else None

        def left() -> list[dict] | None:
            pods = look()
            return pods if pods and not any(pod["metadata"].get("deletionTimestamp") for pod in pods) else None

        try:
            return eventually(left, f"settled deployments in {self.name}", seconds)
        except AssertionError:
            pytest.fail("\n".join(self._unready()), pytrace=False)

    def _unready(self) -> list[str]:
        """Return why Pods are not ready, one line each, and what was said of objects."""
        conditions = (
            f"{pod['metadata']['name']}: {condition.get('message', condition['type'])}"
            for pod in self.get("pods")
            for condition in pod["status"].get("conditions", ())
            if condition["status"] != "True"
        )
        events = self.get("events")
        return [*conditions, *(f"{event['involvedObject']['name']}: {event['message']}" for event in events[-10:])]


@pytest.fixture(scope="session")
def cluster(needs_kubernetes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Kubernetes with no node, for this run."""
    programs = kubernetes_programs()
    assert programs
    directory = tmp_path_factory.mktemp("kubernetes")
    with ExitStack() as stack:
        yield _started(programs, directory, stack)


def fake_nodes(count: int, capacity: Mapping[str, str], prefix: str) -> list[dict]:
    """Return nodes for `Cluster.apply`; kwok says that they are ready."""
    metadata = {"labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "pool": prefix}}
    capacity = {"pods": "110", "ephemeral-storage": "100Gi", **capacity}
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"{prefix}-{number}", **metadata},
            "status": {"capacity": capacity, "allocatable": capacity},
        }
        for number in range(count)
    ]


def _started(programs: Path, directory: Path, stack: ExitStack) -> Cluster:
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    etcd, peer, server = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}", f"https://127.0.0.1:{port}"
    key, token = directory / "accounts.key", secrets.token_hex(16)
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (directory / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    (directory / "tokens.csv").chmod(0o600)
    cluster = Cluster(programs, _kubeconfig(directory / "kubeconfig", server, token))
    start = _Starter(programs, directory, stack)
    start(
        "etcd",
        f"--data-dir={directory}/etcd --listen-client-urls={etcd} --advertise-client-urls={etcd} --unsafe-no-fsync",
        f"--listen-peer-urls={peer} --initial-advertise-peer-urls={peer} --initial-cluster=default={peer}",
    )
    start(
        "kube-apiserver",
        f"--etcd-servers={etcd} --bind-address=127.0.0.1 --secure-port={port} --cert-dir={directory}/certificates",
        f"--token-auth-file={directory}/tokens.csv --authorization-mode=RBAC --endpoint-reconciler-type=none",
        f"--service-account-key-file={key} --service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.test --service-cluster-ip-range=10.96.0.0/16",
    )
    eventually(lambda: start.alive() and cluster.run("get", "--raw", "/readyz").stdout == "ok", "API", _START_SECONDS)
    kubeconfig = f"--kubeconfig={cluster.kubeconfig}"
    controller = f"{kubeconfig} --leader-elect=false --secure-port=0 --kube-api-qps=1000 --kube-api-burst=1000"
    start("kube-scheduler", controller)
    start("kube-controller-manager", f"{controller} --service-account-private-key-file={key}")
    start(
        "kwok",
        f"{kubeconfig} --config={programs}/stages.yaml --manage-all-nodes=true",
        f"--server-address=127.0.0.1:{free_port()}",
    )
    eventually(lambda: start.alive() and cluster.get("serviceaccounts"), "account of the namespace", _START_SECONDS)
    return cluster


def _kubeconfig(file: Path, server: str, token: str) -> Path:
    written = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    file.write_text(json.dumps(written))
    file.chmod(0o600)
    return file


class _Starter:
    """Starts the programs, which end in the opposite order, or with us however we end."""

    def __init__(self, programs: Path, directory: Path, stack: ExitStack) -> None:
        self._programs, self._directory, self._stack = programs, directory, stack
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __call__(self, name: str, *options: str) -> None:
        self._stack.enter_context(self._running(name, " ".join(options).split()))

    def alive(self) -> bool:
        """Return True; fail the test when a program has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                pytest.fail(f"{name} has ended:\n{self._log(name).read_text()[-3000:]}", pytrace=False)
        return True

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    @contextmanager
    def _running(self, name: str, options: list[str]) -> Iterator[None]:
        argv = ["setpriv", "--pdeathsig", "KILL", self._programs / name, *options]
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory)
        self._processes[name] = process
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_settled(deployment: dict) -> bool:
    status, wanted = deployment["status"], deployment["spec"]["replicas"]
    counted = (status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"))
    return status.get("observedGeneration") == deployment["metadata"]["generation"] and set(counted) == {wanted}
