"""How every engine says that it cannot start."""

from pathlib import Path

from tests.engines.conformance.conftest import Served, failure
from tests.tiny_gguf import write_tiny_llama


def test_a_damaged_model_is_one_sentence_with_its_cause(served: Served, tmp_path: Path) -> None:
    if served.variant.engine == "upstream":
        return
    damaged = write_tiny_llama(tmp_path / "damaged.gguf")
    damaged.write_bytes(damaged.read_bytes().replace(b"blk.1.attn_v.weight", b"blk.1.attn_x.weight"))
    served.dmrc.ok("package", "--gguf", damaged, "local/damaged")

    code, line = failure(served, tmp_path, f"model: local/damaged, x-dmrc: {{engine: {served.variant.engine}}}")

    assert code == 5
    assert "does not start: the file has no tensor 'blk.1.attn_v.weight'" in line


def test_a_model_that_cannot_fit_is_refused_with_numbers(served: Served, tmp_path: Path) -> None:
    if served.variant.engine == "upstream":
        return
    served.dmrc.ok("package", "--gguf", write_tiny_llama(tmp_path / "vast.gguf", context_length=1 << 28), "local/vast")
    inside = f"model: local/vast, context_size: {1 << 28}, x-dmrc: {{engine: {served.variant.engine}}}"

    code, line = failure(served, tmp_path, inside)

    assert code == 5
    assert "GB is free" in line
