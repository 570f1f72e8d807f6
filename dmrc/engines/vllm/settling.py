"""What vLLM must be told for an operation, beside what the project says."""

from __future__ import annotations

import json
from dataclasses import replace

from dmrc.engines.local_model import LocalModel, local
from dmrc.engines.vllm.architecture import architecture
from dmrc.errors import InputError
from dmrc.exchange import Operation
from dmrc.project import Mode, ServingOptions

_MODES: dict[Operation, Mode] = {"embedding": "embedding", "rerank": "rerank"}
_TEMPLATE_FLAG = "--default-chat-template-kwargs"


def settled(
    name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None
) -> ServingOptions:
    """Return the options as the server gets them; see `Engine.settle`.

    Raises:
        InputError: The model is not for that.
    """
    config = architecture(local(model).path)
    context_size = options.context_size
    if context_size and config.trained_context:
        # vLLM does not start with more than the model was trained with.
        context_size = min(context_size, config.trained_context)
    flags = options.runtime_flags
    if options.reasoning_budget == 0 and _TEMPLATE_FLAG not in (flags or ()):
        flags = (*(flags or ()), _TEMPLATE_FLAG, json.dumps({"enable_thinking": False}))
    return replace(
        options,
        mode=_mode(name, config.purpose, options.mode, operation),
        context_size=context_size,
        runtime_flags=flags,
        reasoning_budget=None,  # by a flag now, or what vLLM does anyway
    )


def _mode(name: str, purpose: Mode | None, configured: Mode | None, operation: Operation | None) -> Mode:
    """Return how vLLM must run for an operation; None asks for what the model is for.

    What is configured goes before its architecture: a model that writes may give embeddings as well.
    """
    own = configured or purpose or "completion"
    if operation is None:
        return own
    wanted = _MODES.get(operation, "completion")
    if wanted == "completion" and purpose not in (None, "completion"):
        raise InputError(f"model '{name}' writes no text: it is for embeddings or reranking", remedy="Choose another")
    if wanted == "embedding" and purpose == "rerank":
        raise InputError(f"model '{name}' is a reranker: it gives no embeddings", remedy="Choose another")
    if wanted == "rerank" and purpose == "completion" and configured != "rerank":
        raise InputError(
            f"model '{name}' is not a reranker: its file does not say so",
            remedy=f"Choose another; or, where it is one: dmrc configure --mode reranking {name}",
        )
    return wanted
