"""`package`, `pull`, `list`, `inspect`, `rm` and `run` on a real registry and a real engine, as a user sees them."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_package_prints_the_id_and_notes_the_name(dmrc: Dmrc, tiny: Path) -> None:
    done = dmrc.run("package", "--gguf", tiny, "me/tiny")
    again = json.loads(dmrc.ok("package", "--gguf", tiny, "me/tiny:again", "--json"))

    assert done.stderr == "packaged tiny.gguf as docker.io/me/tiny:latest\n"
    assert done.stdout.startswith("sha256:")
    assert again["digest"] == done.stdout.strip()
    assert again["tags"] == ["docker.io/me/tiny:again", "docker.io/me/tiny:latest"]
    assert again["size_bytes"] > tiny.stat().st_size


def test_package_records_what_it_is_told(dmrc: Dmrc, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("Do as you like.")
    (tmp_path / "chat.jinja").write_text("{{ messages[0].content }}")
    options = ["--context-size", "256", "--license", tmp_path / "LICENSE", "--chat-template", tmp_path / "chat.jinja"]

    dmrc.ok("package", "--gguf", tiny, *options, "me/tiny")

    assert json.loads(dmrc.ok("inspect", "me/tiny"))["config"]["context_size"] == 256
    assert dmrc.ok("list").splitlines()[1].split()[-3] == "256"


def test_list_is_a_table_for_people(dmrc: Dmrc, tiny: Path) -> None:
    assert dmrc.ok("list").split() == (
        ["MODEL", "NAME", "PARAMETERS", "QUANTIZATION", "ARCHITECTURE", "MODEL", "ID", "CREATED", "CONTEXT", "SIZE"]
    )
    digest = dmrc.ok("package", "--gguf", tiny, "me/tiny").strip()
    dmrc.ok("package", "--gguf", tiny, "me/b:v1")

    header, *rows = dmrc.ok("list").splitlines()

    assert [row.split()[0] for row in rows] == ["me/b:v1", "me/tiny"]
    for row in rows:
        cells = {
            name: row[header.index(name) :].split("  ")[0].strip() for name in ("QUANTIZATION", "MODEL ID", "SIZE")
        }
        assert cells == {"QUANTIZATION": "F16", "MODEL ID": digest[7:19], "SIZE": "298.06 kB"}
        assert row[header.index("CREATED") :].split("  ")[0].endswith(" ago")
    assert dmrc.ok("ls", "-q") == dmrc.ok("list", "-q")


def test_list_for_programs(dmrc: Dmrc, tiny: Path) -> None:
    digest = dmrc.ok("package", "--gguf", tiny, "me/tiny").strip()
    dmrc.ok("package", "--gguf", tiny, "--context-size", "128", "me/other")

    models = json.loads(dmrc.ok("list", "--json"))

    assert {model["tags"][0] for model in models} == {"docker.io/me/tiny:latest", "docker.io/me/other:latest"}
    (shown,) = json.loads(dmrc.ok("list", "--json", "me/tiny"))
    assert shown == json.loads(dmrc.ok("inspect", "me/tiny")) == json.loads(dmrc.ok("inspect", digest[7:19]))
    assert shown["id"] == digest
    assert shown["config"]["format"] == "gguf"
    assert shown["config"]["architecture"] == "llama"
    assert shown["config"]["gguf"]["general.name"] == "Tiny"
    assert abs(shown["created"] - time.time()) < 300
    assert sorted(dmrc.ok("list", "-q").split()) == sorted(model["id"][7:19] for model in models)


@pytest.mark.parametrize("command", ["inspect", "list", "rm", "logs"])
def test_a_model_that_is_not_in_the_store_is_named(dmrc: Dmrc, command: str) -> None:
    done = dmrc.run(command, "me/nothing")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("dmrc: ")
    assert done.stderr.count("\n") == 1
    assert "me/nothing" in done.stderr


def test_rm_by_tag_leaves_the_files_while_another_tag_names_them(dmrc: Dmrc, tiny: Path) -> None:
    digest = dmrc.ok("package", "--gguf", tiny, "me/tiny").strip()
    dmrc.ok("package", "--gguf", tiny, "me/tiny:other")

    first = dmrc.ok("rm", "me/tiny")
    second = json.loads(dmrc.ok("rm", "me/tiny:other", "--json"))

    assert first == "Untagged: docker.io/me/tiny:latest\n"
    assert second == [{"Untagged": "docker.io/me/tiny:other"}, {"Deleted": digest}]
    assert dmrc.ok("list", "-q") == ""
    assert [path for path in (dmrc.home / "store" / "blobs").rglob("*") if path.is_file()] == []


def test_rm_by_an_id_of_two_tags_wants_force(dmrc: Dmrc, tiny: Path) -> None:
    short_id = dmrc.ok("package", "--gguf", tiny, "me/tiny").strip()[7:19]
    dmrc.ok("package", "--gguf", tiny, "me/tiny:other")

    refused = dmrc.run("rm", short_id)

    assert refused.returncode == 1
    assert "me/tiny:other" in refused.stderr
    assert "force" in refused.stderr
    assert "Deleted: sha256:" in dmrc.ok("rm", "-f", short_id)
    assert dmrc.ok("list", "-q") == ""


@pytest.mark.engine
def test_rm_refuses_a_model_that_runs(dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "me/tiny")
    dmrc.ok("run", "me/tiny", "Hi")

    refused = dmrc.run("rm", "me/tiny")

    assert refused.returncode == 1
    runner = r"runner [0-9a-f]{12} \(llama\.cpp, ready\)\. Run: dmrc unload me/tiny, or use --force\n"
    assert re.fullmatch(f"dmrc: model 'me/tiny' is in use by {runner}", refused.stderr)
    assert dmrc.ok("list", "-q") != ""
    assert "Untagged: docker.io/me/tiny:latest" in dmrc.ok("rm", "--force", "me/tiny")
    assert json.loads(dmrc.ok("ps", "--json")) == []


def test_pull_tells_what_came_and_what_was_there(dmrc: Dmrc, tiny: Path, registry: RegistryServer) -> None:
    digest = registry.push_model("me/tiny:v1", tiny)
    name = f"{registry.address}/me/tiny:v1"

    first = dmrc.run("pull", name)
    (second,) = json.loads(dmrc.ok("pull", name, "--json"))

    assert first.stdout == f"{digest}\n"
    assert first.stderr.startswith(f"{name} pulled, 297")
    assert first.stderr.count("\n") == 1
    assert second.pop("seconds") >= 0
    assert second.pop("size_bytes") > tiny.stat().st_size
    assert second == {"reference": name, "digest": digest, "was_present": True}
    assert f"{name} is up to date (297" in dmrc.run("pull", name).stderr


def test_pull_brings_what_changed_in_the_registry(dmrc: Dmrc, tmp_path: Path, registry: RegistryServer) -> None:
    name = f"{registry.address}/me/tiny"
    digests = []
    for seed in (1, 2):
        registry.push_model("me/tiny", write_tiny_llama(tmp_path / f"{seed}.gguf", seed=seed))
        digests.append(dmrc.ok("pull", name).strip())

    assert digests[0] != digests[1]
    assert json.loads(dmrc.ok("inspect", name))["id"] == digests[1]


@pytest.mark.engine
def test_run_pulls_what_is_missing_and_then_needs_no_registry(
    dmrc: Dmrc, smollm2: Path, registry: RegistryServer
) -> None:
    registry.push_model("ai/smollm2", smollm2)
    name = f"{registry.address}/ai/smollm2"

    first = dmrc.ok("run", name, "Tell", "me", "a", "fact")
    registry.stop()
    second = dmrc.ok("run", name, "Tell me a fact")

    for answer in (first, second):
        assert len([word for word in answer.split() if word.strip(".,'\"").isalpha()]) > 3
        assert answer.endswith("\n")


@pytest.mark.engine
def test_run_streams_and_takes_what_is_piped_in(dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "--context-size", "512", "me/tiny")

    dmrc.run("run", "me/tiny", "Sum up:", input="a text that is piped in")

    (exchange,) = json.loads(dmrc.ok("requests", "--json"))
    assert exchange["stream"] is True
    assert "Sum up: a text that is piped in" in dmrc.ok("requests")


@pytest.mark.engine
def test_run_ends_quietly_when_its_reader_does(dmrc: Dmrc, tmp_path: Path) -> None:
    """As in `dmrc run … | head -c 1`; the tiny model would go on for thousands of tokens."""
    gguf = write_tiny_llama(tmp_path / "long.gguf", context_length=1 << 15)
    dmrc.ok("package", "--gguf", gguf, "--context-size", "30000", "me/tiny")
    process = subprocess.Popen(
        [dmrc.program, "run", "me/tiny", "Hi"],
        env=dmrc.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(1)
    process.stdout.close()

    assert process.wait(30) == 1
    assert process.stderr.read() == b""
    process.stderr.close()
