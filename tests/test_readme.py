"""The README says what is so: its example runs, and it is short. The reference pages have tests of their own."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from dmrc.compose import yaml_text
from dmrc.compose.command import MINIMUM_VERSION
from dmrc.project import Project
from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.pages import ROOT, blocks, page

README = page("README.md")
MODEL = "ai/smollm2:135M-Q4_K_M"


def example() -> Project:
    (written,) = blocks(README, "yaml")
    (document,) = yaml_text.read(written, "README.md")
    assert isinstance(document, dict)
    return Project.parse({"name": "demo", **document}, ())


def commands() -> list[list[str]]:
    """Return the commands to run beside the example."""
    return [line.split() for line in "\n".join(blocks(README, "sh")).splitlines() if line.startswith("dmrc")]


@pytest.fixture
def demo(dmrc: Dmrc, tmp_path: Path, smollm2: Path) -> Path:
    """A directory with the example, whose model is in the store."""
    directory = tmp_path / "demo"
    directory.mkdir()
    (written,) = blocks(README, "yaml")
    (directory / "compose.yaml").write_text(written)
    dmrc.ok("package", "--gguf", smollm2, MODEL)
    return directory


def test_the_example_is_a_project_whose_service_uses_the_model() -> None:
    project = example()

    assert [service.name for service in project.consumers] == ["app"]
    assert project.models["llm"].model == MODEL
    assert project.models["llm"].options.context_size == 2048


@pytest.mark.engine
def test_the_example_runs_as_the_page_says(
    dmrc: Dmrc, demo: Path, docker_engine: DockerEngine, busybox: str, tmp_path: Path
) -> None:
    dmrc.environment |= docker_engine.environment
    _tag_busybox(docker_engine, busybox, tmp_path)

    (_, *up), (_, *requests) = commands()
    ran = dmrc.run(*up, cwd=demo, timeout=300)
    listed = dmrc.ok(*requests, cwd=demo)
    dmrc.ok("down", cwd=demo, env=docker_engine.environment)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"role":"assistant"' in ran.stdout
    _assert_is_the_list_of_the_page(listed)


@pytest.mark.engine
def test_the_example_runs_without_docker(dmrc: Dmrc, demo: Path) -> None:
    (document,) = yaml_text.read((demo / "compose.yaml").read_text(), "README.md")
    shell, flag, script = document["services"]["app"]["command"]  # type: ignore[call-overload,index]

    answer = dmrc.ok("exec", "app", "--", shell, flag, script.replace("$$", "$"), cwd=demo)

    assert json.loads(answer)["choices"][0]["message"]["content"]
    _assert_is_the_list_of_the_page(dmrc.ok("requests"))


def _assert_is_the_list_of_the_page(listed: str) -> None:
    """The same columns, and in them what does not change from run to run."""
    (shown,) = blocks(README, "console")
    (header, row), (page_header, page_row) = (text.splitlines() for text in (listed, shown))

    assert header.split() == page_header.split()
    for text in ("demo/app", "llm", "200", "36→", "Say hello to the sea."):
        assert text in row
        assert text in page_row


def _tag_busybox(docker_engine: DockerEngine, image: str, work: Path) -> None:
    """Have `busybox` as Docker Hub has it: with a shell, and a name for each of its programs."""
    archive = work / "busybox.tar"
    docker_engine.docker("create", "--name", "for-its-files", image)
    docker_engine.docker("export", "--output", str(archive), "for-its-files")
    docker_engine.docker("rm", "for-its-files")
    with tarfile.open(archive, "a") as tar:
        for name in ("sh", "wget"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/busybox"
            tar.addfile(link)
    docker_engine.docker("import", str(archive), "busybox:latest")


def test_the_commands_to_try_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^make (\w+)", "\n".join(blocks(README, "sh")), re.MULTILINE)

    assert targets == ["demo", "test"]
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in targets)


def test_the_version_of_compose_is_the_one_that_is_asked_for() -> None:
    assert f"Docker Compose {MINIMUM_VERSION[0]}.{MINIMUM_VERSION[1]} or newer" in README


@pytest.mark.process
def test_the_picture_is_small() -> None:
    assert subprocess.run(["git", "check-ignore", "-q", "docs/page.png"], cwd=ROOT).returncode == 1
    assert (ROOT / "docs" / "page.png").stat().st_size <= 300 << 10


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) < 140
