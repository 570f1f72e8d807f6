"""How every engine says that it cannot start."""

from pathlib import Path

from tests.engines.conformance.conftest import Served, failure
from tests.tiny_gguf import write_tiny_llama
from tests.tiny_safetensors import write_tiny_llama_directory


def test_a_damaged_model_is_one_sentence_with_its_cause(served: Served, tmp_path: Path) -> None:
    if served.variant.engine == "upstream":
        return
    if served.variant.format == "gguf":
        damaged = write_tiny_llama(tmp_path / "damaged.gguf")
        damaged.write_bytes(damaged.read_bytes().replace(b"blk.1.attn_v.weight", b"blk.1.attn_x.weight"))
        served.dmrc.ok("package", "--gguf", damaged, "local/damaged")
        sentence = "the file has no tensor 'blk.1.attn_v.weight'"
    else:
        directory = write_tiny_llama_directory(tmp_path / "damaged")
        damaged = directory / "model.safetensors"
        damaged.write_bytes(damaged.read_bytes().replace(b"layers.1.self_attn.v_proj", b"layers.1.self_attn.x_proj"))
        served.dmrc.ok("package", "--safetensors-dir", directory, "local/damaged")
        sentence = "its architecture has no tensor 'layers.1.self_attn.x_proj', which is in the file"

    code, line = failure(served, tmp_path, f"model: local/damaged, x-dmrc: {{engine: {served.variant.engine}}}")

    assert code == 5
    assert f"does not start: {sentence}" in line


def test_a_model_that_cannot_fit_is_refused_with_numbers(served: Served, tmp_path: Path) -> None:
    if served.variant.engine == "upstream":
        return
    if served.variant.format == "gguf":
        vast = ("--gguf", write_tiny_llama(tmp_path / "vast.gguf", context_length=1 << 28))
    else:
        vast = ("--safetensors-dir", write_tiny_llama_directory(tmp_path / "vast", context_length=1 << 28))
    served.dmrc.ok("package", *vast, "local/vast")
    inside = f"model: local/vast, context_size: {1 << 28}, x-dmrc: {{engine: {served.variant.engine}}}"

    code, line = failure(served, tmp_path, inside)

    assert code == 5
    assert "GB is free" in line
