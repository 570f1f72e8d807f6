"""Docstrings that say nothing that the signature does not say."""

import ast
import re
from collections.abc import Iterator, Sequence

_SMALL_WORDS = (
    "a an the this these it its itself them they one all of on in to for with by from at or and is are be was who what "
    "which whether that there return returns have has known new self"
)
_EMPTY = frozenset(_SMALL_WORDS.split())
_NOTHING_YET = {"begin", "know", "have", "seen", "come", "yet", "none", "nothing"}

Defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def empty(nodes: Sequence[ast.AST]) -> Iterator[Defined]:
    """Yield what has a docstring of one sentence whose words are all in its name or in its annotations."""
    owners = {inner: node for node in nodes if isinstance(node, ast.ClassDef) for inner in node.body}
    for node in nodes:
        if isinstance(node, Defined) and (text := ast.get_docstring(node)) and "\n" not in text:
            owner = owners.get(node)
            signature = [node.name, owner.name if isinstance(owner, ast.ClassDef) else ""]
            if not isinstance(node, ast.ClassDef):
                signature += [ast.unparse(node.args), ast.unparse(node.returns) if node.returns else ""]
            said = _words(text) - _words(re.sub(r"([a-z])([A-Z])", r"\1 \2", " ".join(signature)))
            if not said or (node.name in ("__init__", "__enter__") and not said - _NOTHING_YET):
                yield node


def _words(text: str) -> set[str]:
    """Return the words that mean something, without their endings."""
    found = re.findall(r"[a-z]+|[^\sa-z_,.:;()'\[\]|]+", text.lower())
    return {re.sub(r"(ing|ed|es|s|e)$", "", word) for word in found if word not in _EMPTY}
