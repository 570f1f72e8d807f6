"""What Docker is given to build the images in examples/images/ of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def context() -> set[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    return exclude_paths(str(ROOT), patterns) - {".dockerignore"}  # which Docker's own library adds


@pytest.mark.parametrize("name", ["Dockerfile", "ray.Dockerfile"])
def test_all_that_an_image_copies_and_installs_is_among_it(context: set[str], name: str) -> None:
    text = (ROOT / "examples" / "images" / name).read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)", text, re.M) for word in line.split()[:-1]]
    sources = [word for word in copied if not word.startswith("--") and word != "."]
    (installed,) = re.findall(r"^RUN .*pip install --no-cache-dir (.*) &&", text, re.M)
    projects = [re.sub(r"^/(home/ray/dmrc|src)/?", "", word) for word in installed.split()]

    assert set(sources) <= context
    assert {f"{each}/pyproject.toml".lstrip("/") for each in projects} <= context
    assert {"dmrc/answer.py", "dmrc/ui/templates/base.html"} <= context


def test_what_an_image_needs_not_is_left_out(context: set[str]) -> None:
    assert {"plugins/dmrc-ray/dmrc_ray/bridge.py", "plugins/dmrc-ray/README.md"} <= context
    assert {each.partition("/")[0] for each in context} == {"dmrc", "plugins", "pyproject.toml", "README.md", "LICENSE"}
    assert not [each for each in context if "__pycache__" in each or "/tests/" in each]
