"""Which names hold secrets: of headers, of keys in JSON, of variables, of parameters in URLs. One rule for all."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_plus

# A word of a name says it: `x-auth-token`, `PGPASSWORD`, `apiKey`. Longer words count too, since not all are separated.
_SECRET_WORD = re.compile(
    r".*(?:secret(?!ar)|password|passwd|passphrase|passcode|pwd|credential|cookie|session(?!s$)|signature(?!s$)|bearer)"
    r"|.+keys?$|.*pass$|.*token(?!s$|i[sz])|.*auth(?!or(?:s|ed|ing|ity|ities|ship|ized)?$|entic(?:ated)?$)"
    r"|(?:mnemonic|pepper|dsn|webhook|jwt|csrf|xsrf|hmac|t?otp|cvv|cvc|psk|pw|creds?|dpop|assertion)$"
    r"|(?:php)?(?:sid|sess|sessid)$"
)
# These are words of many things, and say it only at the end of a name: `private_key`, `key_value`, `pin_memory`.
_SECRET_LAST_WORD = re.compile(r"(?:keys?|private|salt|sig|pin|pat)$")
_HARMLESS_WORD = re.compile(
    r"(?:monkey|turkey|hockey|donkey|jockey|whiskey|hotkey|bypass|compass|encompass|surpass|trespass|overpass"
    r"|underpass|oldpwd|unauthorized)s?$"
)
# Two words that say it together: `api_key_prod`, `connection_string`, `SLACK_WEBHOOK_URL`, `recovery_codes`.
_SECRET_WORDS = re.compile(
    r"(?:.*_)?(?:(?:api|access|account|private|secret|signing|encryption|license|master|service|admin|ssh)_keys?"
    r"|connection_string|webhook_ur[il]|(?:seed|recovery)_phrase|(?:mfa|otp|pin|recovery|backup|verification)_codes?)"
    r"(?:_(?:prod|production|dev|development|staging|test|live|old|new|primary|secondary|base|value|pem))?$"
    r"|.+_keys?_(?:prod|production|dev|development|staging|test|live)$"
)
# `max_tokens` and `prompt_tokens` count them; these are no counts.
_TOKENS_OF = frozenset({"access", "api", "auth", "bearer", "refresh", "secret"})
# What a name is about stands at its end: TOKEN_URL is a URL, and X-Session-Id names a conversation.
_HARMLESS_ENDINGS = frozenset(
    {
        *("file", "path", "dir", "directory", "url", "uri", "endpoint", "host", "port", "name", "id", "ids", "type"),
        *("mode", "ttl", "timeout", "length", "size", "limit", "count", "number", "usage", "budget", "details"),
        *("seconds", "ms", "rate", "index", "position", "logprob", "logprobs", "prob", "probs", "version", "format"),
        *("enabled", "required", "method", "algorithm", "provider", "policy", "strategy", "kind", "status", "driver"),
        *("realm", "scope", "scopes", "rule", "address", "domain", "entrypoints", "middlewares", "store", "expiry"),
    }
)
# Whose value is a choice, a place in a text, or chosen by the caller to find something again.
_HARMLESS_NAMES = frozenset(
    {
        *(
            "pwd",
            "key",
            "keys",
            "idempotency_key",
            "model_key",
            "prompt_cache_key",
            "cache_key",
            "primary_key",
            "foreign_key",
        ),
        *("sort_key", "partition_key", "eos_token", "bos_token", "pad_token", "unk_token", "stop_token", "sep_token"),
        *("mask_token", "cls_token", "eot_token", "image_token", "audio_token", "video_token", "think_token"),
    }
)
_LONGEST_NAME = 256
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# Some write an `@` of a password as it is; the last one ends it.
_USER_IN_URL = re.compile(r"://([^\s/\"'<>]{1,512})@")
_PARAMETER = re.compile(r"[?&;#]([\w.%~\[\]-]{1,64})=([^&;\s#\"'<>\\]{1,4096})")


def is_secret_name(name: str) -> bool:
    """Return whether what bears this name is a secret."""
    return _is_secret(name[-_LONGEST_NAME:])  # callers choose names, and the cache keeps them


@lru_cache(4096)
def _is_secret(name: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    while words and words[-1].isdigit():
        words.pop()  # `API_KEY_2`
    if not words or "public" in words or "_".join(words) in _HARMLESS_NAMES:
        return False
    if _SECRET_WORDS.match("_".join(words)):
        return True
    if words[-1] in _HARMLESS_ENDINGS:
        return False
    if words[-1] == "tokens":
        return not _TOKENS_OF.isdisjoint(words)
    if _SECRET_LAST_WORD.match(words[-1]):
        return True
    return any(_SECRET_WORD.match(word) and not _HARMLESS_WORD.match(word) for word in words)


def secrets_in_urls(text: str) -> list[tuple[int, int]]:
    """Return where in a text the secret parts of URLs stand: user and password, and parameters of a secret name."""
    if "://" not in text:
        return []
    spans = [
        match.span(1)
        for match in _USER_IN_URL.finditer(text)
        if ":" in match[1] or not text.endswith("ssh", 0, match.start())  # where a user alone is no token
    ]
    for match in _PARAMETER.finditer(text):
        name = unquote_plus(match[1])
        if is_secret_name(name) or name in ("key", "code"):
            spans.append(match.span(2))
    return sorted(spans)


def hidden_in_urls(text: str) -> str:
    """Return a text for a person, in which URLs show no login and no secret parameters."""
    for start, end in reversed(secrets_in_urls(text)):
        text = f"{text[:start]}…{text[end:]}"
    return text
