"""What in a text is secret by the name that it stands under, or by its look: `PASSWORD=…`, `X-Api-Key: …`, `ghp_…`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from dmrc.secret_names import is_secret_name, secrets_in_urls

# Prefixes that the services named give their tokens, so that scanners find them.
TOKEN = re.compile(
    r"(?<![\w-])(?:"
    r"(?:sk|rk|pk)[-_](?:live_|test_|proj-|ant-|or-|dmrc-)?[\w-]{16,}"  # OpenAI, Anthropic, Stripe
    r"|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|AIza[\w-]{30,}|ya29\.[\w-]{20,}|hf_\w{20,}|npm_\w{30,}|pypi-[\w-]{30,}|dckr_pat_[\w-]{20,}|gsk_\w{20,}"
    r"|SG\.[\w.-]{30,}|glsa_\w{20,}|dop_v1_\w{30,}|tskey-[\w-]{16,}|r8_\w{20,}|xai-\w{20,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?:(?!-----END)[\s\S])*+"
    r")"
)
_SHORTEST_TOKEN = 15
# By a character that each token of the group has: it is found at a fraction of the cost, and most texts have few.
_TOKEN_BEGINNINGS = {
    "_": (
        *("sk_", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_", "npm_", "dckr_pat_", "gsk_"),
        *("glsa_", "dop_v1_", "r8_"),
    ),
    "-": ("sk-", "glpat-", "xox", "pypi-", "tskey-", "xai-", "-----BEGIN "),
    "": ("AKIA", "ASIA", "AIza", "ya29.", "SG.", "eyJ"),
}

# Read backwards from the sign of an assignment: `NAME=`, `name: `, `"name": `, `name := `.
_NAME_BEFORE = re.compile(r"""[ \t\n]{0,8}(["']?)([\w.-]{1,64})""")
# What follows: in quotes to their end, else a word. A call or an index is an expression, and no value.
_VALUE = re.compile(
    r""">?(?P<space>\s{0,8})(?:"(?P<double>[^"\\\n]{4,512}+)"|'(?P<single>[^'\\\n]{4,512}+)'"""
    r"""|["']?(?P<word>[^\s"'`<>,;&|(){}\[\]$\\]{4,4096}+)(?![(\[{]))"""
)
_CREDENTIALS = re.compile(r"""\s{0,8}["']?(?:[A-Za-z]{3,16}[ \t]+)?([\w.~+/=:-]{8,4096}+)""")
_COOKIES = re.compile(r"""[ \t]{0,8}["']?((?=[^\r\n"']{0,255}=)[^\r\n"']{4,4096}+)""")
_BEARER = re.compile(r"[Bb](?:earer|asic)[ \t]+(?=[\w.~+/-]{0,255}[\d=])([\w.~+/=:-]{8,4096}+)")
_OPTION = re.compile(r"""--([\w-]{1,64}+)[ \t]+["']?(?=[^\s"']{0,63}\d)([^\s"'`<>,;&|(){}\[\]$\\-][^\s"'`]{5,511}+)""")
_LOGIN = re.compile(r"""[ \t](?:-u|--user|--proxy-user)[ \t=]+["']?[^\s:"'/]{1,64}:([^\s"']{4,512})""")  # curl
_PASSWORD_OPTION = re.compile(r"\bmysql\w{0,9}\b[^\n|;&]{0,200}?[ \t]-p([^\s\"']{4,512})")
_FORM_PART = re.compile(
    r"""form-data;[^\r\n]{0,256}?\bname="?([^";\r\n]{1,64})"?[^\r\n]{0,256}\r?\n(?:[^\r\n]{1,256}\r?\n){0,4}\r?\n"""
    r"""([^\r\n].{0,4096}?)(?=\r?\n--|\Z)""",
    re.DOTALL,
)
_PAIR = re.compile(r'"(?:name|key|header)"\s{0,8}:\s{0,8}"([^"\\]{1,64})"\s{0,8},\s{0,8}"value"\s{0,8}:\s{0,8}(?=")')
# JSON inside of a text: an error that quotes a body, or a body that was cut, so nothing needs to be closed.
_JSON_VALUE = re.compile(r'\s{0,8}(?=["\[{\d-])')
_JSON_PART = re.compile(r'"((?:[^"\\]|\\.)*+)(?:"(\s{0,8}:)?)?|-?(\d[\d.eE+-]{2,})|[\[{]|[\]}]', re.DOTALL)
_LONGEST_HOLDER = 64 << 10
_LONGEST_NAME = 80

_NO_VALUES = frozenset(
    {
        *("none", "null", "true", "false", "undefined", "required", "optional", "string", "integer", "number"),
        *("boolean", "object", "bytes", "bearer", "basic", "disabled", "enabled", "not-required"),
    }
)

Span = tuple[int, int]


def secrets_in_text(text: str) -> list[Span]:
    """Return where secrets stand in a text, in order, overlapping ones as one."""
    signs = [sign for sign in "=:" if sign in text]
    if not signs and len(text) < _SHORTEST_TOKEN:
        return []
    spans = secrets_in_urls(text)
    for sign in signs:
        spans += _assigned(text, sign)
    if "-" in text:
        if "--" in text:
            spans += [match.span(2) for match in _OPTION.finditer(text) if is_secret_name(match[1])]
        if " -u" in text or "-user" in text:
            spans += [match.span(1) for match in _LOGIN.finditer(text)]
    if "mysql" in text:
        spans += [match.span(1) for match in _PASSWORD_OPTION.finditer(text)]
    if "earer " in text or "asic " in text:
        spans += [match.span(1) for match in _BEARER.finditer(text)]
    if '"value"' in text:
        pairs = (match for match in _PAIR.finditer(text) if is_secret_name(match[1]))
        spans += [span for match in pairs for span in _json_values(text, match.end())]
    if "form-data" in text:
        spans += [match.span(2) for match in _FORM_PART.finditer(text) if is_secret_name(match[1])]
    if len(text) >= _SHORTEST_TOKEN:
        groups = (group for sign, group in _TOKEN_BEGINNINGS.items() if sign in text)
        spans += _tokens(text, [each for group in groups for each in group if each in text])
    return merged(spans) if spans else spans


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, those that overlap as one."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def _tokens(text: str, beginnings: Sequence[str]) -> Iterator[Span]:
    for beginning in beginnings:
        at = text.find(beginning)
        while at >= 0:
            if match := TOKEN.match(text, at):
                yield match.span()
            at = text.find(beginning, at + len(beginning))


def _assigned(text: str, sign: str) -> Iterator[Span]:
    """Yield the values that stand behind a name and a sign. To look back from each sign costs less than any pattern."""
    at = text.find(sign)
    while at >= 0:
        before = text[at - 1 :: -1] if at < _LONGEST_NAME else text[at - 1 : at - _LONGEST_NAME : -1]
        match = _NAME_BEFORE.match(before.removeprefix(":")) if at else None
        if match is not None:
            name = match[2][::-1]
            if match[1] == '"' and sign == ":" and (name == "headers" or is_secret_name(name)):
                yield from _in_json(text, at + 1, only_holder=name == "headers")
            elif is_secret_name(name):
                yield from _value_of(text, at + 1, name, sign)
        at = text.find(sign, at + 1)


def _in_json(text: str, start: int, *, only_holder: bool) -> Iterator[Span]:
    value = _JSON_VALUE.match(text, start)
    if value is not None and not (only_holder and text[value.end()] not in "[{"):
        yield from _json_values(text, value.end())


def _value_of(text: str, start: int, name: str, sign: str) -> Iterator[Span]:
    lower = name.lower()
    whole = _CREDENTIALS if lower.endswith("authorization") else _COOKIES if lower.endswith("cookie") else None
    if whole is not None and (match := whole.match(text, start)):
        yield match.span(1)
    elif match := _VALUE.match(text, start):
        kind = match.lastgroup or ""
        is_close = kind != "word" or (sign == "=" and not match["space"])
        if _is_value(match[kind], name, is_close=is_close):
            yield match.span(kind)


def _is_value(value: str, name: str, *, is_close: bool) -> bool:
    """Return whether what stands after a name is a value; in prose and in programs it may be any word."""
    if value.lower() in _NO_VALUES:
        return False
    has_digit = any(map(str.isdigit, value))
    if not has_digit and is_secret_name(value):
        return False  # `api_key=api_key`
    if is_close or ("-" in name.strip("-") and len(value) >= 8):
        return True  # the second is a header
    return len(value) >= 6 and has_digit and any(map(str.isalpha, value))


def _json_values(text: str, start: int) -> Iterator[Span]:
    """Yield the strings and the longer numbers of the JSON value that begins at `start`, as far as it goes."""
    depth = 0
    for match in _JSON_PART.finditer(text, start, start + _LONGEST_HOLDER):
        if match[0] in ("[", "{"):
            depth += 1
        elif match[0] in ("]", "}"):
            depth -= 1
        elif match[2] is None and match[match.lastindex or 0]:
            yield match.span(match.lastindex or 0)
        if depth <= 0:
            return
