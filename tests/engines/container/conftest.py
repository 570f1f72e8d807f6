"""Images of servers, and a dmrc that knows the Docker engine which has them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.docker_engine import DockerEngine
from tests.groups import LLAMA_SERVER

LLAMA = "llama-server:local"


@pytest.fixture(scope="session")
def llama_image(
    docker_engine: DockerEngine, busybox: str, needs_llama_server: None, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """An image of the llama-server of this machine with all its libraries, and of nothing else but busybox."""
    root = tmp_path_factory.mktemp("llama-image")
    program = Path(LLAMA_SERVER or "").resolve()
    beside = [file for file in program.parent.iterdir() if ".so" in file.name]
    (root / "app").mkdir()
    for file in (program, *beside):
        shutil.copy(file, root / "app" / file.name)
    linked = subprocess.run(["ldd", program, *beside], capture_output=True, text=True).stdout
    for library in {Path(found) for found in re.findall(r"(/\S+\.so\S*) \(", linked)}:
        if library.parent.resolve() != program.parent:
            place = root / library.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    shutil.copy(shutil.which("busybox") or "", root / "busybox")
    archive = root.with_suffix(".tar")
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
    changes = ('ENTRYPOINT ["/app/llama-server"]', "ENV LD_LIBRARY_PATH=/app LLAMA_ARG_HOST=0.0.0.0")
    docker_engine.docker("import", *(word for one in changes for word in ("--change", one)), str(archive), LLAMA)
    archive.unlink()
    shutil.rmtree(root)
    return LLAMA


@pytest.fixture(scope="module")
def container_dmrc(docker_engine: DockerEngine, smollm2: Path, needs_process: None) -> Iterator[Dmrc]:
    """A dmrc that knows the Docker engine, with a model that talks, and tiny ones."""
    with temporary_dmrc() as dmrc:
        dmrc.environment |= docker_engine.environment
        dmrc.ok("package", "--gguf", smollm2, "local/smollm2")
        yield dmrc
        assert not containers(docker_engine, dmrc), "the tests have left containers"


@pytest.fixture
def own_container_dmrc(dmrc: Dmrc, docker_engine: DockerEngine, smollm2: Path) -> Dmrc:
    """A dmrc for one test."""
    dmrc.environment |= docker_engine.environment
    dmrc.ok("package", "--gguf", smollm2, "local/smollm2")
    return dmrc


def containers(engine: DockerEngine, dmrc: Dmrc) -> list[str]:
    """Return the containers of a dmrc, those that have ended too."""
    return engine.docker("ps", "--all", "--quiet", "--filter", f"label=io.dmrc.home={dmrc.home}").split()
