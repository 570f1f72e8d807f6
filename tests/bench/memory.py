"""The memory estimate against what the real child has in use, for several architectures, types and numbers of slots."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import gguf

from dmrc.engines.llama_cpp.memory import estimate
from dmrc.engines.local_model import LocalModel
from dmrc.gguf import GgufFacts
from dmrc.project import Mode, ServingOptions
from tests.bench.figure import Figure
from tests.engines.child import Child, real_child
from tests.synthetic_gguf import Shape, write_model

_MIB = 1 << 20
_BAR = 15.0
_TYPE = gguf.GGMLQuantizationType
_LLAMA = Shape(width=1024, blocks=12, heads=16, heads_kv=4, inner=2816, vocabulary=32000)
_MODELS = {
    "llama Q4_0, repacked": replace(_LLAMA, weights=_TYPE.Q4_0),
    "llama Q4_1": replace(_LLAMA, weights=_TYPE.Q4_1),
    "llama Q8_0": replace(_LLAMA, weights=_TYPE.Q8_0),
    "qwen2 Q8_0, grouped attention": Shape(
        architecture="qwen2", width=896, blocks=12, heads=14, heads_kv=2, inner=4864, vocabulary=60000,
        weights=_TYPE.Q8_0,
    ),
    "gemma3 F16, sliding window": Shape(
        architecture="gemma3", width=640, blocks=18, heads=4, heads_kv=1, head_width=256, inner=2048, vocabulary=60000,
        sliding_window=512, context_length=32768,
    ),
    "bert F16, no cache": Shape(
        architecture="bert", width=768, blocks=12, heads=12, heads_kv=12, inner=3072, vocabulary=30000,
        context_length=512, pooling=gguf.PoolingType.MEAN,
    ),
}  # fmt: skip


def measure() -> list[Figure]:
    """Return how far each estimate is from the resident size, in percent of it."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="dmrc-") as name:
        for model, shape in _MODELS.items():
            path = write_model(Path(name) / "model.gguf", shape)
            slots = (1,) if shape.architecture == "bert" else (1, 4)
            figures += [_figure(model, path, shape, parallel) for parallel in slots]
            path.unlink()
    return figures


def _figure(model: str, path: Path, shape: Shape, parallel: int) -> Figure:
    context = min(shape.context_length, 2048)
    is_bert = shape.architecture == "bert"

    async def use(child: Child) -> int:
        if is_bert:
            status, _ = await child.post("/v1/embeddings", {"input": "a b c " * 80})
        else:
            status, _ = await child.post("/v1/completions", {"prompt": [300] * 520, "max_tokens": 4})
        assert status == 200
        return child.process.resident_bytes()

    mode: Mode = "embedding" if is_bert else "completion"
    resident = real_child(path.parent, use, gguf=path, context_size=context, parallel=parallel, mode=mode)
    with path.open("rb") as stream:
        facts = GgufFacts.parse(stream, name=model)
    options = ServingOptions(context_size=context, mode=mode)
    estimated = estimate(LocalModel(path=path, facts=facts), options, parallel).total_bytes
    return Figure(
        name=f"memory of {model}, {parallel} × {context} tokens: estimate off by",
        value=abs(estimated / resident - 1) * 100,
        unit="%",
        bar=_BAR,
        ours=f"{estimated / _MIB:.0f} MiB",
        theirs=f"{resident / _MIB:.0f} MiB in use",
    )
