"""What llama.cpp's server must be told for an operation, beside what the project says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dmrc.engines.llama_cpp.flags import mode as declared_mode
from dmrc.engines.llama_cpp.flags import parse
from dmrc.engines.llama_cpp.speculation import with_speculation
from dmrc.engines.local_model import LocalModel, facts_of
from dmrc.errors import InputError
from dmrc.exchange import Operation
from dmrc.gguf import GgufFacts
from dmrc.project import Mode, ServingOptions

# Source: enum llama_pooling_type in https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h
_RANK_POOLING = 4


def settled(
    name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None, binary: Path | None
) -> ServingOptions:
    """Return the options as the server gets them; see `Engine.settle`. Without a `binary` it is xllamacpp's."""
    facts, flags = facts_of(model), options.runtime_flags or ()
    mode = (operation is None and options.mode) or _mode(facts, operation, flags, name, options.mode)
    context_size = options.context_size
    if context_size and facts.context_length:
        # llama.cpp gives no request more than the model was trained with, so this is what each one really gets.
        context_size = min(context_size, facts.context_length)
    if mode == "completion":
        flags = with_speculation(name, model, flags, binary)
    else:
        # A text is embedded in one piece: without this, none may be longer than 512 tokens.
        flags = ("--batch-size", str(context_size), "--ubatch-size", str(context_size), *flags)
    if mode == "embedding" and not facts.pooling_type and "--pooling" not in flags:
        # A model that was not made for embeddings gives one for each token; clients want one for each text.
        flags = ("--pooling", "mean", *flags)
    if options.reasoning_budget is not None and "--reasoning-budget" not in flags:
        flags = (*flags, "--reasoning-budget", str(options.reasoning_budget))
    if options.draft_tokens is not None:
        flags = ("--spec-draft-n-max", str(options.draft_tokens), *flags)
    if options.draft_acceptance is not None:
        flags = ("--draft-p-min", str(options.draft_acceptance), *flags)
    said = {"reasoning_budget": None, "draft_tokens": None, "draft_acceptance": None}  # by flags now
    return replace(options, mode=mode, context_size=context_size, runtime_flags=flags, **said)


def template_source(flags: Sequence[str], facts: GgufFacts, beside: str | None) -> str:
    """Return the source of the chat template that the engine uses; an empty one where it has none of the model's."""
    for one in reversed(parse(flags)):
        if one.flag.names[-1] == "--no-jinja":
            return ""
        if one.flag.names[-1] == "--chat-template":
            return one.value or ""
    own = facts.metadata.get("tokenizer.chat_template.tool_use") or facts.chat_template
    return own or "" if beside is None else beside


def _mode(
    facts: GgufFacts, operation: Operation | None, flags: Sequence[str], name: str, configured: Mode | None
) -> Mode:
    """Return how the engine must run for an operation; None asks for what the model is for.

    What is `configured` for it goes before its flags: `dmrc configure --mode reranking`.

    Raises:
        InputError: The model is not for that: the engine would abort, or answer with noise.
    """
    declared = configured or declared_mode(flags)
    reranks = facts.pooling_type == _RANK_POOLING or declared == "rerank"
    if operation is None:
        own: Mode = "embedding" if facts.pooling_type or not facts.is_causal else "completion"
        return "rerank" if reranks else declared or own
    if operation == "rerank":
        if facts.is_causal and not reranks:
            raise InputError(
                f"model '{name}' is not a reranker: its file does not say so",
                remedy=f"Choose another; or, where it is one: dmrc configure --mode reranking {name}",
            )
        return "rerank"
    if operation == "embedding":
        if facts.pooling_type == _RANK_POOLING and "--pooling" not in flags:
            raise InputError(f"model '{name}' is a reranker: it gives no embeddings", remedy="Choose another")
        return "embedding"
    if not facts.is_causal:
        raise InputError(f"model '{name}' writes no text: it is for embeddings or reranking", remedy="Choose another")
    return "completion"
