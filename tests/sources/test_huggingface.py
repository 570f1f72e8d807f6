"""Pulls from a server like Hugging Face by its own client library."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import pytest

from dmrc.sources.quantisations import quantisation_of
from tests.dmrc_command import Dmrc
from tests.sources.hugging_face import COMMIT, Repository, Serve
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf").read_bytes()


def _files(dmrc: Dmrc, name: str) -> list[str]:
    return [each["role"] for each in json.loads(dmrc.ok("show", "--json", name))["files"]]


@pytest.mark.parametrize(
    ("name", "quantisation"),
    [
        ("model-Q4_K_M.gguf", "Q4_K_M"),
        ("model.q8_0.gguf", "Q8_0"),
        ("Model-UD-Q4_K_XL-00001-of-00002.gguf", "UD-Q4_K_XL"),
        ("Q6_K/model-00001-of-00002.gguf", "Q6_K"),
        ("model-IQ4_XS.gguf", "IQ4_XS"),
        ("model-bf16.gguf", "BF16"),
        ("model.gguf", ""),
        ("Qwen2-7B.gguf", ""),
    ],
)
def test_the_name_of_a_file_tells_its_quantisation(name: str, quantisation: str) -> None:
    assert quantisation_of(name) == quantisation


@pytest.mark.engine
def test_the_quantisation_is_exact_and_the_model_runs(dmrc: Dmrc, serve: Serve, tiny: bytes) -> None:
    other = b"GGUF of another kind"
    files = {"m-Q4_K_M.gguf": tiny, "m-Q4_K_S.gguf": other, "m-UD-Q4_K_M.gguf": other, "README.md": b"Hello"}
    server = serve(Org__Model=Repository(files))

    dmrc.ok("pull", "hf.co/Org/Model:Q4_K_M")

    assert json.loads(dmrc.ok("list", "--json"))[0]["tags"] == ["huggingface.co/org/model:Q4_K_M"]
    assert dmrc.ok("list").splitlines()[1].split()[0] == "hf.co/org/model:Q4_K_M"
    assert not any("Q4_K_S" in path for _, path, _ in server.requests)
    assert dmrc.run("run", "hf.co/Org/Model:Q4_K_M", "Hi").returncode == 0
    assert not (dmrc.home / "hf").exists(), "a second copy in the cache of huggingface_hub"


@pytest.mark.parametrize("asked", ["Q4_K", "Q4", "Q5_K_M"])
def test_another_quantisation_is_never_taken_for_it(dmrc: Dmrc, serve: Serve, tiny: bytes, asked: str) -> None:
    serve(org__m=Repository({"m-Q4_K_M.gguf": tiny, "m-Q8_0.gguf": tiny}))

    done = dmrc.run("pull", f"hf.co/org/m:{asked}")

    assert done.returncode == 3
    assert f"has no {asked}; it has Q4_K_M, Q8_0. Choose one, like hf.co/org/m:Q4_K_M" in done.stderr
    assert dmrc.ok("list", "-q") == ""


@pytest.mark.parametrize(
    ("files", "taken"),
    [(("m-Q4_K_M.gguf", "m-Q8_0.gguf"), True), (("m-Q8_0.gguf",), True), (("m-Q8_0.gguf", "m-Q6_K.gguf"), False)],
)
def test_without_a_quantisation_the_usual_or_the_only_one_is_taken(
    dmrc: Dmrc, serve: Serve, tiny: bytes, files: tuple[str, ...], taken: bool
) -> None:
    serve(org__m=Repository(dict.fromkeys(files, tiny)))

    done = dmrc.run("pull", "hf.co/org/m")

    assert (done.returncode == 0) == taken, done.stderr
    if not taken:
        assert "several quantisations and no Q4_K_M; it has Q6_K, Q8_0" in done.stderr


def test_where_no_file_says_a_quantisation_none_is_offered(dmrc: Dmrc, serve: Serve, tiny: bytes) -> None:
    serve(org__m=Repository({"model.gguf": tiny}))

    done = dmrc.run("pull", "hf.co/org/m:Q8_0")

    assert done.returncode == 3
    assert "has no Q8_0: no file's name says a quantisation. Leave it out: hf.co/org/m" in done.stderr
    assert dmrc.run("pull", "hf.co/org/m").returncode == 0


def test_a_missing_repository_and_a_gated_one_are_told_apart(dmrc: Dmrc, serve: Serve, tiny: bytes) -> None:
    server = serve(org__gated=Repository({"m-Q4_K_M.gguf": tiny}, gated_for="hf_good"))

    missing = dmrc.run("pull", "hf.co/org/none")
    gated = dmrc.run("pull", "hf.co/org/gated")

    assert (missing.returncode, gated.returncode) == (3, 4)
    assert "there is no repository 'org/none' on Hugging Face, or it is private" in missing.stderr
    assert "HF_TOKEN" in missing.stderr
    assert "repository 'org/gated' on Hugging Face is gated. Accept its terms" in gated.stderr

    dmrc.environment["HF_TOKEN"] = "hf_good"
    dmrc.ok("pull", "hf.co/org/gated")

    seen = {(server, authorization) for server, path, authorization in server.requests if "gated" in path}
    assert ("api", "Bearer hf_good") in seen
    assert {authorization for server, authorization in seen if server == "files"} == {None}


def test_a_revision_has_a_name_of_its_own(dmrc: Dmrc, serve: Serve, tiny: bytes) -> None:
    serve(org__m=Repository({"m-Q8_0.gguf": tiny}, revisions=("main", "v1", COMMIT)))

    dmrc.ok("pull", "hf.co/org/m:Q8_0@v1")
    unknown = dmrc.run("pull", "hf.co/org/m:Q8_0@v2")

    assert json.loads(dmrc.ok("inspect", "hf.co/org/m:Q8_0@v1"))["tags"] == ["huggingface.co/org/m:Q8_0-at-v1"]
    assert unknown.returncode == 3
    assert "has no revision 'v2'" in unknown.stderr
    dmrc.ok("pull", "hf.co/org/m:Q8_0-at-v1")


def test_a_projector_comes_with_a_model_that_sees(dmrc: Dmrc, serve: Serve, tiny: bytes) -> None:
    files = {"m-Q8_0.gguf": tiny, "mmproj-m-f16.gguf": tiny + b"\0", "mmproj-m-Q8_0.gguf": b"GGUF other"}
    server = serve(org__sees=Repository(files))

    dmrc.ok("pull", "hf.co/org/sees")

    assert _files(dmrc, "hf.co/org/sees") == ["gguf", "mmproj"]
    assert not any("mmproj-m-Q8_0" in path for _, path, _ in server.requests)


@pytest.mark.engine
def test_a_split_model_comes_whole_and_loads(dmrc: Dmrc, serve: Serve, tmp_path: Path, tiny: bytes) -> None:
    shards = split(tiny, tmp_path)
    files = {f"Q8_0/m-{number:05d}-of-{len(shards):05d}.gguf": data for number, data in enumerate(shards, 1)}
    serve(org__split=Repository(files), org__torn=Repository(dict(list(files.items())[:1])))

    dmrc.ok("pull", "hf.co/org/split:Q8_0")
    torn = dmrc.run("pull", "hf.co/org/torn:Q8_0")

    assert _files(dmrc, "hf.co/org/split:Q8_0") == ["gguf"] * len(shards)
    assert dmrc.run("run", "hf.co/org/split:Q8_0", "Hi").returncode == 0
    assert torn.returncode == 2
    assert "a split model of which 'Q8_0/m-00002-of-00002.gguf' is not there" in torn.stderr


def test_bytes_that_are_not_those_of_the_lfs_digest_are_not_kept(dmrc: Dmrc, serve: Serve, tiny: bytes) -> None:
    serve(org__lies=Repository({"m-Q8_0.gguf": tiny}, digests={"m-Q8_0.gguf": "ab" * 32}))

    done = dmrc.run("pull", "hf.co/org/lies")

    assert done.returncode == 4
    assert "came with other bytes" in done.stderr
    assert dmrc.ok("list", "-q") == ""


def test_a_repository_without_a_model_is_told_as_such(dmrc: Dmrc, serve: Serve) -> None:
    serve(org__other=Repository({"pytorch_model.bin": b"x"}))

    done = dmrc.run("pull", "hf.co/org/other")

    assert done.returncode == 2
    assert "has no GGUF file and no safetensors; models in other formats are not served" in done.stderr


def test_a_server_that_is_away_is_a_network_error(dmrc: Dmrc) -> None:
    dmrc.environment |= {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(dmrc.home / "hf")}

    done = dmrc.run("pull", "hf.co/org/m")

    assert done.returncode == 4
    assert "Hugging Face cannot be reached" in done.stderr
    assert done.stderr.count("\n") == 1


def split(model: bytes, directory: Path) -> list[bytes]:
    """Return a model as two files, the tensors shared between them."""
    whole = directory / "whole.gguf"
    whole.write_bytes(model)
    reader = gguf.GGUFReader(whole)
    half = len(reader.tensors) // 2
    shards = []
    for number, tensors in enumerate((reader.tensors[:half], reader.tensors[half:])):
        path = directory / f"part-{number}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        if number == 0:
            for field in reader.fields.values():
                if not field.name.startswith("GGUF.") and field.name != "general.architecture":
                    kind, *inner = field.types
                    writer.add_key_value(field.name, field.contents(), kind, inner[-1] if inner else None)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        shards.append(path.read_bytes())
    return shards
