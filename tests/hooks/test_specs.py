import re
from pathlib import Path

import pytest

from dmrc.hooks import specs
from dmrc.hooks.plugins import BUILT_IN
from dmrc.hooks.specs import AWAITED, KINDS, WIDE, HookKind

ROOT = Path(__file__).parent.parent.parent
HOOKS = [name for name in vars(specs) if name.startswith("dmrc_")]


def test_every_hook_has_a_kind() -> None:
    assert set(HOOKS) == set(KINDS)
    assert {name for name, kind in KINDS.items() if kind is HookKind.FILTER} >= AWAITED
    assert set(KINDS) >= WIDE


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_what_it_does_and_when_it_is_called(hook: str) -> None:
    text = vars(specs)[hook].__doc__

    assert len(text.splitlines()) > 2
    assert re.search(r"\bCalled\b.*\b(once|whenever|after)\b", text, re.DOTALL)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_user_in_the_tree_or_a_test(hook: str) -> None:
    places = (path for folder in ("plugins", "examples", "tests") for path in (ROOT / folder).rglob("*.py"))
    is_built_in = any(hook in implemented for implemented in BUILT_IN.values())

    assert is_built_in or any(f"def {hook}(" in path.read_text() for path in places)
