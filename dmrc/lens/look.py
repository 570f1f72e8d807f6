"""What one request got from the cache of its engine, and why not more: its prompt beside a former one. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dmrc.exchange import Exchange
from dmrc.fields import JsonObject
from dmrc.lens.changes import ChangeKind
from dmrc.lens.difference import PromptComparison, PromptDifference, compare
from dmrc.lens.prompt import Prompt

RECOMPUTED_TOKENS = 80
"""What an engine computes again though it is the same: the last token, what its template puts before the answer, and
with a recurrent model all since its last checkpoint, which llama.cpp makes 64 tokens before the end of a prompt."""

_SHARE_OF_SHORT = 0.75
_ESTIMATE = 0.3
"""Of a part of a prompt, tokens are estimated by its characters; so much they may be wrong."""

LOADING_MS = 20.0
"""A request that waited longer for its model than this has had it loaded."""

_END_OF_PROMPT_TOKENS = 64
"""Less that is the same behind a difference at the end of a prompt is a question's chance, and costs nothing."""

_ASKED_ANEW = ("edited", "number", "counter", "shuffled", "added", "removed", "replaced")
"""Changes that a new question at the end of a prompt may look like."""

_NEAR_TOKENS, _WORTH_TOKENS = 4, 16

_SAME_PROMPT = 0.2
"""A system message of which less is as it was is another prompt, unless messages tell that the conversation is one."""


@dataclass(frozen=True, slots=True)
class Between:
    """What happened on the model between two requests."""

    was_loaded: bool = False
    """Whether another request had the model loaded."""
    others: int = 0
    """How many requests it answered of other conversations and services."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLook:
    """What the lens sees of one request; numbers are tokens, None where the engine did not say."""

    exchange: Exchange
    """The request."""
    unread: str | None = None
    """Why its texts could not be compared; None where they were, or there is no former prompt."""
    former: str | None = None
    """Id of the request whose prompt it was compared with."""
    is_conversation: bool = False
    """Whether that one is of the same conversation; else it is only the nearest of the service."""
    again: int | None = None
    """About how many tokens were computed that a former prompt had, too; what an engine always computes is none."""
    difference: PromptDifference | None = None
    """The first place where it differs from the former prompt, but for what was new in it."""
    cause: ChangeKind | None = None
    """Why tokens were computed again; None where the cache worked."""
    detail: str = ""
    """What more there is to say of the cause: names of parameters, `12 other requests`."""

    @property
    def cached(self) -> int | None:
        """Return how many tokens came from the cache."""
        return self.exchange.cached_tokens

    @property
    def computed(self) -> int | None:
        """Return how many tokens of the prompt were computed."""
        whole, cached = self.exchange.prompt_tokens, self.cached
        return None if whole is None or cached is None else max(0, whole - cached)

    def to_json(self) -> JsonObject:
        """Return it for programs."""
        return {
            "prompt_tokens": self.exchange.prompt_tokens,
            "cached_tokens": self.cached,
            "computed_tokens": self.computed,
            "computed_again_tokens": self.again,
            "former_request": self.former,
            "same_conversation": self.is_conversation if self.former else None,
            "cause": self.cause,
            "cause_detail": self.detail or None,
            "difference": None if self.difference is None else self.difference.to_json(),
            "not_compared": self.unread,
        }


def look_at(now: Exchange, prompt: Prompt, before: Exchange, former: Prompt, *, is_conversation: bool) -> CacheLook:
    """Return what the lens sees of a request beside a former one; what was `gone` may be told better by `explained`."""
    found = compare(former, prompt)
    tokens = _Tokens.of(now, prompt, before, former, found)
    difference = found.difference
    if difference is not None and not is_conversation and _is_other_prompt(difference):
        return CacheLook(exchange=now)
    if difference is not None and _is_new(difference, prompt, found, tokens):
        difference = None
    plain = CacheLook(exchange=now, former=before.id, is_conversation=is_conversation)
    cached = now.cached_tokens
    if cached is None or tokens.same_before is None:
        return replace(plain, difference=difference, cause=None if difference is None else difference.kind)
    lost = max(0, tokens.same_before - cached)
    is_lost = lost > max(tokens.slack, _WORTH_TOKENS)
    gap = tokens.same_after if difference is not None else 0
    if is_lost and (difference is None or lost > gap):
        cause, detail = _lost(now, before, prompt, former, is_same=found.same_parameters)
        return replace(plain, again=lost + gap, difference=difference, cause=cause, detail=detail)
    if difference is None or cached >= tokens.same_before + max(_NEAR_TOKENS, _SHARE_OF_SHORT * gap):
        return replace(plain, again=0)
    again = max(0, tokens.same_before + gap - cached)
    return replace(plain, again=again, difference=difference, cause=difference.kind)


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The sizes of a comparison in tokens."""

    same_before: int | None
    """None where no engine told how many tokens a prompt has."""
    same_after: int
    slack: float
    """How many tokens of `same_before` may be computed again without a fault."""

    @classmethod
    def of(cls, now: Exchange, prompt: Prompt, before: Exchange, former: Prompt, found: PromptComparison) -> _Tokens:
        counts = [(before.prompt_tokens, former.size), (now.prompt_tokens, prompt.size)]
        known = [(tokens, size) for tokens, size in counts if tokens is not None and size]
        if not known:
            return cls(None, 0, 0.0)
        rate = known[0][0] / known[0][1]
        same_before, slack = round(found.same_before * rate), 0.0
        if found.difference is None:
            same_before = min(tokens for tokens, _ in known)
        else:
            slack = _ESTIMATE * same_before
        slack = max(slack, min(RECOMPUTED_TOKENS, _SHARE_OF_SHORT * same_before))
        most = now.prompt_tokens if now.prompt_tokens is not None else same_before
        return cls(min(same_before, most), min(round(found.same_after * rate), max(0, most - same_before)), slack)


def _is_new(difference: PromptDifference, prompt: Prompt, found: PromptComparison, tokens: _Tokens) -> bool:
    """Return whether a difference is only that something new is said: nothing behind it was there before."""
    is_last = difference.piece.kind == "message" and difference.piece.number == prompt.pieces[-1].number
    is_by_chance = is_last and difference.kind in _ASKED_ANEW
    behind = tokens.same_after if tokens.same_before is not None else found.same_after // 4
    return behind < (_END_OF_PROMPT_TOKENS if is_by_chance else _WORTH_TOKENS if is_last else _NEAR_TOKENS)


def _is_other_prompt(difference: PromptDifference) -> bool:
    """Return whether a system message is another one altogether: a service may have several kinds of prompts."""
    return difference.piece.kind == "system" and difference.kind == "edited" and difference.kept < _SAME_PROMPT


def _lost(now: Exchange, before: Exchange, prompt: Prompt, former: Prompt, *, is_same: bool) -> tuple[ChangeKind, str]:
    """Return why what is the same was not in the cache."""
    if (now.load_ms or 0.0) > LOADING_MS:
        return "unloaded", ""
    if now.replica != before.replica:
        return "replica", f"{before.replica or '-'}, then {now.replica or '-'}"
    if not is_same:
        names = {*prompt.parameters, *former.parameters}
        changed = sorted(one for one in names if prompt.parameters.get(one) != former.parameters.get(one))
        return "parameter", ", ".join(changed)
    return "gone", ""


def explained(look: CacheLook, between: Between) -> CacheLook:
    """Return a look whose prompt was `gone` with what took its place, where that is known."""
    if look.cause != "gone":
        return look
    if between.was_loaded:
        return replace(look, cause="unloaded")
    if between.others:
        plural = "s" if between.others > 1 else ""
        return replace(look, cause="displaced", detail=f"{between.others} other request{plural}")
    return look
