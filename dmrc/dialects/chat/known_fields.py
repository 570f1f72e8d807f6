"""Which fields of a request are heeded, which change no answer, which are refused: none is dropped in silence."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from dmrc.errors import InputError
from dmrc.exchange import JsonValue

_NUMBERS_OF_ENGINES = (
    *("seed", "min_p", "typical_p", "top_n_sigma", "n_probs", "min_keep"),
    *("presence_penalty", "frequency_penalty", "repeat_penalty", "repeat_last_n", "repetition_penalty"),
    *("xtc_probability", "xtc_threshold", "dynatemp_range", "dynatemp_exponent", "adaptive_target"),
    *("mirostat", "mirostat_tau", "mirostat_eta", "n_keep", "n_predict", "min_tokens"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n"),
    *("n_cache_reuse", "id_slot", "t_max_predict_ms", "reasoning_budget_tokens", "thinking_budget_tokens"),
)
OF_ENGINES = frozenset(
    {
        *_NUMBERS_OF_ENGINES,
        *("samplers", "logit_bias", "ignore_eos", "stop_token_ids", "dry_sequence_breakers", "grammar", "json_schema"),
        *("cache_prompt", "lora", "chat_template_kwargs", "reasoning_format"),
    }
)
"""What chat completions of llama.cpp's server and its like have beside OpenAI's fields; it passes in every dialect.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

NUMBERS = (
    *("temperature", "top_p", "top_k", "n", "best_of", "max_tokens", "max_completion_tokens", "top_logprobs"),
    *_NUMBERS_OF_ENGINES,
)
"""The fields of completions that are numbers: an engine takes `true` for 1, and leaves out a text without a word."""

_OURS = ("keep_alive",)


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one kind of object in one dialect."""

    heeded: Collection[str]
    """What the translation reads."""
    harmless: Collection[str]
    """What concerns the service of who made the dialect: bills, caches, statistics."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why a field cannot be heeded; what is in none of the three is not known."""

    def check_inner(self, document: Mapping[str, JsonValue], where: str) -> None:
        """Check an object within a request, where an engine's own fields mean nothing; else as `check`."""
        if passed := self.check(document, where):
            raise InputError(f"'{next(iter(passed))}'{where} is not known", remedy="Leave it out")

    def check(self, document: Mapping[str, JsonValue], where: str = "") -> dict[str, JsonValue]:
        """Return the fields that are an engine's own; `where` is what a message says after a field's name.

        A refused field that asks for nothing (null, false, an empty list) is fine.

        Raises:
            InputError: A field has no meaning here.
        """
        passed: dict[str, JsonValue] = {}
        for name in self.unread(document, where):
            if name not in OF_ENGINES:
                raise InputError(f"'{name}'{where} is not known", remedy="Leave it out")
            passed[name] = document[name]
        return passed

    def unread(self, document: Mapping[str, JsonValue], where: str = "") -> list[str]:
        """Return the names of the fields that mean nothing here; `where` as in `check`.

        Raises:
            InputError: A field is refused.
        """
        found: list[str] = []
        for name, value in document.items():
            if name in self.heeded or name in self.harmless or name in _OURS or value is None:
                continue
            if name not in self.refused:
                found.append(name)
            elif value:
                raise InputError(f"'{name}'{where} {self.refused[name]}", remedy="Leave it out")
        return found
