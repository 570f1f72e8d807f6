"""One command line for each form of a runtime flag."""

from __future__ import annotations

from dmrc.engines.runtime_flags import Flag

_TEXTS = {
    "--n-gpu-layers": "all",
    "--spec-draft-ngl": "all",
    "--tensor-split": "3,1",
    "--spec-draft-cpu-mask": "1",
    "--spec-draft-cpu-mask-batch": "1",
    "--spec-draft-cpu-range": "0-0",
    "--mmproj-device": "none",
    "--sampling-seq": "kt",
    "--dry-sequence-breaker": "\n",
    "--logit-bias": "15043+1",
    "--reverse-prompt": "END",
    "--reasoning-budget-message": "Enough.",
    "--reasoning-effort": "low",
    "--verbosity": "4",
    "--spec-type": "ngram-simple,ngram-mod",
    "--samplers": "top_k;temperature",
    "--grammar": 'root ::= "a"',
    "--chat-template": "chatml",
    "--batch-size": "1024",  # never below --ubatch-size
    "--cpu-mask": "1",
    "--cpu-mask-batch": "1",
    "--cpu-range": "0-0",
    "--cpu-range-batch": "0-0",
    "--device": "none",
    "--spec-draft-device": "none",
    "--fit-target": "512",
}


def examples(flag: Flag) -> list[list[str]]:
    """Return every form of a flag: one for each choice."""
    name = flag.names[-1]
    number = str(int(max(flag.at_least or 1, 1)))
    values = {"int": number, "float": "0.5", "json": '{"type": "object"}'}
    if flag.kind in ("on", "off"):
        return [[name]]
    words = [word for word, _ in flag.choices]
    return [[name, word] for word in words or [_TEXTS.get(name) or values[flag.kind]]]
