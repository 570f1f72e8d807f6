"""YAML that every reader takes for the same: Compose's, Python's, kubectl's, kustomize's."""

from __future__ import annotations

import re

import yaml

from dmrc.fields import JsonValue

# Plain, Python's YAML takes all these for text, but kubectl's takes `y` for true, and kustomize's `1e3` and `0o14` for
# numbers. Source: YAML 1.1 and 1.2.2, chapter 10.3.2.
_NO_TEXT_ELSEWHERE = re.compile(r"[yn]|[-+]?[.\d].*", re.IGNORECASE)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as it is, and every value out in full."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else '"' if _NO_TEXT_ELSEWHERE.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(document: JsonValue) -> str:
    """Return a document as YAML that every reader takes for the same."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
    return text
