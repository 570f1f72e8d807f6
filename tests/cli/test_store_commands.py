"""`package --from`, `tag`, `show`, `list` with a pattern, `verify`, `prune` and `df` as a user sees them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from dmrc.models import Models, Parts
from dmrc.reference import Reference
from dmrc.store import Store
from tests.dmrc_command import Dmrc
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def _blobs(dmrc: Dmrc) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (dmrc.home / "store/blobs/sha256").iterdir()}


def test_a_variant_shares_the_files_of_its_base(dmrc: Dmrc, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("Do as you like.")
    base = dmrc.ok("package", "--gguf", tiny, "--context-size", "128", "me/base").strip()
    before = _blobs(dmrc)

    variant = dmrc.ok("package", "--from", "me/base", "--license", tmp_path / "LICENSE", "me/variant").strip()

    assert variant != base
    assert before.items() <= _blobs(dmrc).items()
    described = json.loads(dmrc.ok("show", "--json", "me/variant"))
    assert described["config"]["context_size"] == 128
    assert [each["role"] for each in described["files"]] == ["gguf", "license"]
    assert dmrc.ok("package", "--from", "me/variant", "--context-size", "128", "me/again").strip() == variant


@pytest.mark.engine
def test_a_model_in_modelpacks_form_is_reproducible_and_runs(dmrc: Dmrc, tiny: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / tiny.name
    copy.parent.mkdir()
    copy.write_bytes(tiny.read_bytes())
    os.utime(copy, (1, 1))

    digests = {
        dmrc.ok("package", "--gguf", path, "--format", "cncf", "--context-size", "256", name).strip()
        for path, name in ((tiny, "me/one"), (copy, "me/two"))
    }

    assert len(digests) == 1
    manifest = json.loads((dmrc.home / "store/blobs/sha256" / digests.pop()[7:]).read_bytes())
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["layers"][0]["annotations"] == {"org.cncf.model.filepath": "tiny.gguf"}
    assert json.loads(dmrc.ok("inspect", "me/one"))["config"]["context_size"] == 256
    assert dmrc.run("run", "me/one", "Hi").returncode == 0


def test_package_wants_a_file_or_a_base(dmrc: Dmrc) -> None:
    done = dmrc.run("package", "me/nothing")

    assert done.returncode == 2
    assert done.stderr == (
        "dmrc: a model is made of a GGUF file, of a directory or of another model. "
        "Give --gguf, --safetensors-dir or --from\n"
    )


def test_tag_gives_one_more_name(dmrc: Dmrc, tiny: Path) -> None:
    digest = dmrc.ok("package", "--gguf", tiny, "me/tiny").strip()

    assert dmrc.ok("tag", "me/tiny", "other:v2") == 'Model "me/tiny" tagged successfully with "other:v2"\n'

    assert json.loads(dmrc.ok("inspect", "ai/other:v2"))["id"] == digest
    assert dmrc.run("tag", "me/none", "x").returncode == 3


def test_list_takes_a_pattern_a_name_without_its_tag_and_an_id(dmrc: Dmrc, tiny: Path) -> None:
    digest = dmrc.ok("package", "--gguf", tiny, "ai/small:q4").strip()
    dmrc.ok("package", "--gguf", tiny, "--context-size", "64", "me/other")

    def names(*arguments: str) -> list[str]:
        return [tag for model in json.loads(dmrc.ok("list", "--json", *arguments)) for tag in model["tags"]]

    for wanted in ("*small*", "ai/sm?ll:*", "docker.io/ai/*", "small", "ai/small", "SMALL:q4", digest[7:19]):
        assert names(wanted) == ["docker.io/ai/small:q4"], wanted
    assert names("*/nothing*") == []
    assert dmrc.ok("list", "-q", "*small*") == f"{digest[7:19]}\n"


def test_list_for_openais_clients(dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "--context-size", "64", "me/tiny")

    document = json.loads(dmrc.ok("list", "--openai"))

    (model,) = document["data"]
    assert (document["object"], model["id"], model["object"]) == ("list", "docker.io/me/tiny:latest", "model")
    assert model["dmr"]["context_window"] == 64
    assert json.loads(dmrc.ok("inspect", "--openai", "me/tiny")) == model


def test_show_is_for_people(dmrc: Dmrc, tiny: Path) -> None:
    digest = dmrc.ok("package", "--gguf", tiny, "me/tiny").strip()

    shown = dmrc.ok("show", "me/tiny")

    assert shown.splitlines()[0].split() == ["Model:", digest]
    for line in ("Tags:          docker.io/me/tiny:latest", "Quantization:  F16", "  general.name: Tiny"):
        assert line in shown.splitlines()
    assert max(map(len, shown.partition("GGUF Metadata:")[2].splitlines())) < 200


def test_verify_finds_damage_and_a_pull_would_repair_it(dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "me/tiny")
    assert dmrc.ok("verify").startswith("3 files are whole")
    largest = max((dmrc.home / "store/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    with largest.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")

    done = dmrc.run("verify")

    assert done.returncode == 1
    assert done.stdout == (
        f"sha256:{largest.name} is damaged, of me/tiny. Run: dmrc pull me/tiny, or package it again\n"
    )
    assert json.loads(dmrc.run("verify", "--json", "me/tiny").stdout)["damaged"][0]["reason"] == "is missing"
    dmrc.ok("package", "--gguf", tiny, "me/tiny")
    assert dmrc.run("verify").returncode == 0


def test_prune_frees_what_an_interrupted_program_left(dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "me/tiny")
    left = dmrc.home / "store/blobs/sha256" / ("ab" * 32)
    left.write_bytes(b"x" * 10_000)
    os.utime(left, (time.time() - 3600,) * 2)
    assert json.loads(dmrc.ok("df", "--json"))["unused_disk_usage"] >= 10_000

    dry = dmrc.run("prune", "--dry-run")
    assert (left.name in dry.stdout, left.exists()) == (True, True)
    assert dry.stderr.startswith("Would free ")
    freed = json.loads(dmrc.ok("prune", "--json"))

    assert [Path(each["path"]).name for each in freed["removed"]] == [left.name]
    assert json.loads(dmrc.ok("df", "--json"))["unused_disk_usage"] == 0
    assert dmrc.run("verify").returncode == 0


def test_package_notes_the_name_that_it_was_given(dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "me/first")

    assert dmrc.run("package", "--gguf", tiny, "me/second").stderr == (
        "packaged tiny.gguf as docker.io/me/second:latest\n"
    )


def test_list_shows_the_tags_that_match_and_sorts_them_by_name(dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "me/tiny")
    for name in ("localhost:5000/me/b", "localhost:5000/me/a:v1", "me/tiny:a", "Zed"):
        dmrc.ok("tag", "me/tiny", name)

    def shown(*arguments: str) -> list[str]:
        return [row.split()[0] for row in dmrc.ok("list", *arguments).splitlines()[1:]]

    assert shown() == ["localhost:5000/me/a:v1", "localhost:5000/me/b", "me/tiny", "me/tiny:a", "zed"]
    assert shown("localhost:5000/*") == ["localhost:5000/me/a:v1", "localhost:5000/me/b"]
    assert shown("me/tiny") == ["me/tiny"]
    assert shown("tin") == ["me/tiny", "me/tiny:a"]
    assert shown("localhost:5000/me/a") == ["localhost:5000/me/a:v1"]
    assert dmrc.run("list", "").returncode == 2
    assert dmrc.run("list", "0" * 12).returncode == 3


def test_a_default_registry_shortens_what_list_shows(dmrc: Dmrc, tiny: Path) -> None:
    own = {"DEFAULT_REGISTRY": "registry.local:5000"}
    dmrc.ok("package", "--gguf", tiny, "small", env=own)

    assert dmrc.ok("list", env=own).splitlines()[1].split()[0] == "small"
    assert dmrc.ok("list").splitlines()[1].split()[0] == "registry.local:5000/ai/small"


def test_rm_goes_on_after_one_that_is_missing(dmrc: Dmrc, tiny: Path) -> None:
    digest = dmrc.ok("package", "--gguf", tiny, "me/tiny").strip()
    dmrc.ok("tag", "me/tiny", "me/other")

    done = dmrc.run("rm", "me/tiny", "me/none", "me/other", "me/nothing")

    assert done.stdout.splitlines() == [
        "Untagged: docker.io/me/tiny:latest",
        "Untagged: docker.io/me/other:latest",
        f"Deleted: {digest}",
    ]
    assert [line.split("'")[1] for line in done.stderr.splitlines()] == ["me/none", "me/nothing"]
    assert done.returncode == 3


@pytest.mark.engine
def test_rm_by_id_ends_the_runner_of_a_model_with_two_names_only_with_force(dmrc: Dmrc, tiny: Path) -> None:
    digest = dmrc.ok("package", "--gguf", tiny, "--context-size", "64", "me/tiny").strip()
    dmrc.ok("tag", "me/tiny", "me/other")
    dmrc.ok("run", "me/tiny", "Hi")

    assert "must be forced" in dmrc.run("rm", digest[7:19]).stderr
    assert dmrc.ok("rm", "me/other") == "Untagged: docker.io/me/other:latest\n"
    assert len(json.loads(dmrc.ok("ps", "--json"))) == 1
    assert "is in use by runner" in dmrc.run("rm", digest).stderr
    assert f"Deleted: {digest}\n" in dmrc.ok("rm", "-f", digest)
    assert json.loads(dmrc.ok("ps", "--json")) == []


@pytest.mark.engine
def test_a_damaged_model_that_runs_can_be_removed(dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "--context-size", "64", "me/tiny")
    dmrc.ok("run", "me/tiny", "Hi")
    largest = max((dmrc.home / "store/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.unlink()

    assert dmrc.run("verify").returncode == 1
    assert "Deleted: " in dmrc.ok("rm", "-f", "me/tiny")
    assert json.loads(dmrc.ok("ps", "--json")) == []


def test_a_variant_is_the_model_that_was_packaged_at_once(dmrc: Dmrc, tiny: Path, tmp_path: Path) -> None:
    """Whatever the way to it, and through ModelPack's form and back."""
    (tmp_path / "LICENSE").write_text("Do as you like.")
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    license_, template = ["--license", tmp_path / "LICENSE"], ["--chat-template", tmp_path / "chat.jinja"]

    at_once = dmrc.ok("package", "--gguf", tiny, *license_, *template, "--context-size", "64", "once")
    dmrc.ok("package", "--gguf", tiny, *license_, "one")
    dmrc.ok("package", "--from", "one", *template, "--format", "cncf", "two")
    in_steps = dmrc.ok("package", "--from", "two", "--context-size", "64", "three")

    assert in_steps == at_once


def test_show_tells_of_a_model_in_modelpacks_form_what_its_header_does(dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "--format", "cncf", "me/tiny")

    config = json.loads(dmrc.ok("show", "--json", "me/tiny"))["config"]

    assert (config["architecture"], config["gguf"]["general.name"]) == ("llama", "Tiny")
    assert "context_size" not in config


@pytest.mark.engine
@pytest.mark.parametrize("order", [(2, 0, 1), (2, 1, 0), (0, 2, 1)])
def test_a_split_model_starts_whatever_the_order_of_its_manifest(dmrc: Dmrc, tmp_path: Path, order: tuple[int]) -> None:
    """Without names on the layers; the headers say which part is which."""
    store = Store(dmrc.home / "store")
    split = write_tiny_llama(tmp_path / "split.gguf", split_max_tensors=8)
    document = json.loads(store.document(Models(store).package(Parts(gguf=split, context_size=64), "straight")))
    parts = [layer for layer in document["layers"] if "gguf" in layer["mediaType"]]
    assert len(parts) == len(order)
    for layer in parts:
        layer.pop("annotations", None)
    others = [layer for layer in document["layers"] if layer not in parts]
    mixed = {**document, "layers": [*(parts[number] for number in order), *others]}
    store.add(json.dumps(mixed).encode(), [Reference.parse("mixed")])

    assert dmrc.ok("run", "mixed", "Hi").strip()
    assert len({model["id"] for model in json.loads(dmrc.ok("list", "--json"))}) == 2
