"""The code of dmrc, each file parsed once for all tests that look at it."""

import ast
from functools import cache
from pathlib import Path

import dmrc

ROOT = Path(dmrc.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a file."""
    return tuple(ast.walk(tree(path)))
