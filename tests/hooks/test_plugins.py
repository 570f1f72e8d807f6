from collections.abc import Callable, Iterator
from importlib import metadata
from types import SimpleNamespace

import pytest

from dmrc import hookimpl
from dmrc.errors import PluginError
from dmrc.hooks import specs
from dmrc.hooks.plugins import BUILT_IN, Plugins


def test_every_hook_is_documented_and_implemented_by_a_built_in_plugin() -> None:
    hooks = [name for name in vars(specs) if name.startswith("dmrc_")]

    assert {hook for implemented in BUILT_IN.values() for hook in implemented} == set(hooks)
    assert all(len(vars(specs)[hook].__doc__.splitlines()) > 2 for hook in hooks)


@pytest.mark.parametrize("module", BUILT_IN)
def test_a_built_in_plugin_implements_the_hooks_that_the_list_says(module: str) -> None:
    plugins = Plugins()

    plugins.load(*BUILT_IN[module])

    callers = plugins.manager.get_hookcallers(plugins.manager.get_plugin(module)) or []
    assert {caller.name for caller in callers} == set(BUILT_IN[module])


class Broken:
    @hookimpl
    def dmrc_register_comands(self, cli: object) -> None:
        """Misspelt."""


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Entry points as installed distributions would have them; names of those that were loaded."""
    loaded: list[str] = []

    class Good:
        @hookimpl
        def dmrc_register_commands(self, cli: object) -> None:
            loaded.append("called")

    def fail() -> object:
        raise ModuleNotFoundError("no module named 'gone'")

    def entry(name: str, load: Callable[[], object]) -> object:
        return SimpleNamespace(name=name, load=load)

    entries = [entry("gone", fail), entry("misspelt", Broken), entry("good", Good)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries if group == "dmrc" else [])
    yield loaded


def test_a_plugin_that_fails_is_named_and_skipped_and_those_after_it_load(strangers: list[str]) -> None:
    plugins = Plugins()

    plugins.load()
    plugins.hook.dmrc_register_commands(cli=None)

    assert strangers == ["called"]
    assert [failed.name for failed in plugins.failed] == ["gone", "misspelt"]


def test_settings_limit_the_strangers(strangers: list[str]) -> None:
    plugins = Plugins(wanted=[])

    plugins.load()
    plugins.hook.dmrc_register_commands(cli=None)

    assert strangers == []
    assert plugins.failed == []


def test_a_misspelt_hook_is_refused() -> None:
    with pytest.raises(PluginError, match="dmrc_register_comands"):
        Plugins().register(Broken(), "misspelt")
