"""`push` and `package --push`, as a user sees them."""

import json
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny.gguf")


def test_push_prints_the_id_and_notes_the_name(dmrc: Dmrc, tiny: Path, registry: RegistryServer) -> None:
    name = f"{registry.address}/me/tiny:v1"
    digest = dmrc.ok("package", "--gguf", tiny, name).strip()

    done = dmrc.run("push", name)
    (again,) = json.loads(dmrc.ok("push", name, "--json"))

    assert (done.returncode, done.stdout) == (0, f"{digest}\n")
    assert done.stderr.startswith(f"{name} pushed, 298")
    assert done.stderr.count("\n") == 1
    assert again.pop("seconds") >= 0
    assert again.pop("size_bytes") > tiny.stat().st_size
    assert again == {"reference": name, "digest": digest}
    dmrc.ok("rm", name)
    assert dmrc.ok("pull", name) == done.stdout


def test_package_pushes_when_asked(dmrc: Dmrc, tiny: Path, registry: RegistryServer) -> None:
    name = f"{registry.address}/me/tiny:v1"

    digest = dmrc.ok("package", "--gguf", tiny, "--push", name)

    dmrc.ok("rm", name)
    assert dmrc.ok("pull", name) == digest


def test_push_without_a_login_tells_how_to_log_in(dmrc: Dmrc, tiny: Path, registry_with_login: RegistryServer) -> None:
    name = f"{registry_with_login.address}/me/tiny:v1"
    dmrc.ok("package", "--gguf", tiny, name)

    done = dmrc.run("push", name)

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"dmrc: model '{name}' cannot be pushed: registry '{registry_with_login.address}' ")
    assert done.stderr.endswith(f". Run: docker login {registry_with_login.address}\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("me/nothing", 3, "'me/nothing' is not in the store"), ("", 2, "is empty"), ("a:b:c", 2, "'a:b:c'")],
)
def test_push_of_what_is_not_there_is_named(dmrc: Dmrc, name: str, code: int, words: str) -> None:
    done = dmrc.run("push", name)

    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
