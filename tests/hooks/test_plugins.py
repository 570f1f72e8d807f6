import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmrc import hookimpl
from dmrc.hooks.plugin import Plugin
from dmrc.hooks.plugins import BUILT_IN, Plugins
from dmrc.project import LocalPlugin
from tests.hooks.written import PROJECT, load, write

COMMANDS = """
@hookimpl
def dmrc_register_commands(cli):
    cli.append(__name__)
"""
HEARS = """
@hookimpl
def dmrc_exchange_completed(exchange):
    pass
"""


def by_name(plugins: Plugins) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in plugins.all()}


@pytest.mark.parametrize("module", BUILT_IN)
def test_a_built_in_plugin_implements_the_hooks_that_the_list_says(module: str) -> None:
    plugins = Plugins([])

    plugins.load(*BUILT_IN[module])

    assert set(by_name(plugins)[module].hooks) == set(BUILT_IN[module])


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Entry points as installed distributions would have them; names of those that were called."""
    called: list[str] = []

    class Good:
        @hookimpl
        def dmrc_register_commands(self, cli: object) -> None:
            called.append("good")

    class Broken:
        @hookimpl
        def dmrc_register_commands(self, cli: object) -> None:
            raise SystemExit("no")

    class Misspelt:
        @hookimpl
        def dmrc_register_comands(self, cli: object) -> None:
            """Misspelt."""

    def gone() -> object:
        raise ModuleNotFoundError("no module named 'gone'")

    def entry(name: str, load: Callable[[], object]) -> object:
        return SimpleNamespace(name=name, load=load, dist=SimpleNamespace(name=f"dmrc-{name}", version="1.0"))

    entries = [entry("gone", gone), entry("misspelt", lambda: Misspelt), entry("good", lambda: Good)]
    entries += [entry("broken", Broken), entry("good", Good)]
    monkeypatch.setattr("dmrc.hooks.plugins.entry_points", lambda group: entries if group == "dmrc" else [])
    yield called


def test_a_plugin_that_fails_is_named_and_skipped_and_those_after_it_load(strangers: list[str]) -> None:
    plugins = Plugins()

    plugins.load()
    plugins.collect("dmrc_register_commands", cli=None)

    assert strangers == ["good"]
    states = [(plugin.name, plugin.state, plugin.reason) for plugin in plugins.all()]
    assert states == [
        ("gone", "failed", "ModuleNotFoundError: no module named 'gone'"),
        ("misspelt", "failed", "there is no hook dmrc_register_comands (did you mean 'dmrc_register_commands'?)"),
        ("good", "loaded", None),
        ("broken", "loaded", None),
        ("good", "failed", "another plugin has this name"),
    ]
    assert [(plugin.to_json()["calls"], plugin.to_json()["errors"]) for plugin in plugins.all()[2:4]] == [
        (1, 0),
        (1, 1),
    ]


def test_an_installed_plugin_tells_its_distribution_and_version(strangers: list[str]) -> None:
    plugins = Plugins(["good"])

    plugins.load()

    good, gone = by_name(plugins)["good"].to_json(), by_name(plugins)["gone"]
    assert (good["from"], good["version"], good["project"]) == ("dmrc-good", "1.0", None)
    assert (gone.state, gone.reason) == ("disabled", "DMRC_PLUGINS does not name it")


def test_none_may_be_loaded_at_all(strangers: list[str], tmp_path: Path) -> None:
    plugins = Plugins([])

    plugins.load()
    own = load(plugins, tmp_path / "own.py", HEARS)

    assert {plugin.state for plugin in plugins.all()} == {"disabled"}
    assert (own.state, own.reason) == ("disabled", "DMRC_PLUGINS allows none")


def test_a_plugin_is_loaded_by_its_path_or_as_a_module(
    strangers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "by_path.py", f"__version__ = '2.0'\n{COMMANDS}")
    (tmp_path / "packages").mkdir()
    write(tmp_path / "packages" / "a_module_of_dmrc_tests.py", COMMANDS)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    plugins = Plugins([str(tmp_path / "by_path.py"), "a_module_of_dmrc_tests", "not_there"])
    called: list[str] = []

    plugins.load()
    plugins.collect("dmrc_register_commands", cli=called)

    assert called[0] == "a_module_of_dmrc_tests"
    assert len(called) == 2
    assert by_name(plugins)["by_path"].to_json()["version"] == "2.0"
    assert by_name(plugins)["not_there"].reason == "no plugin and no module has this name. Correct DMRC_PLUGINS"
    assert strangers == []
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def broken(:", "SyntaxError: invalid syntax (own.py, line 4)"),
        ("raise SystemExit", "SystemExit"),
        (
            HEARS.replace("completed", "complete"),
            "there is no hook dmrc_exchange_complete (did you mean 'dmrc_exchange_completed'?)",
        ),
        (HEARS.replace("(exchange)", "(exchanges)"), "hook 'dmrc_exchange_completed'"),
        (HEARS.replace("def", "async def"), "dmrc_exchange_completed is async. It runs in a thread of its own"),
        (HEARS.replace("impl", "impl(wrapper=True)").replace("pass", "yield"), "dmrc_exchange_completed is a wrapper"),
        (
            HEARS.replace("impl", "impl(hookwrapper=True)").replace("pass", "yield"),
            "dmrc_exchange_completed is a wrapper",
        ),
        (HEARS.replace("@hookimpl", ""), "dmrc_exchange_completed is not marked as a hook"),
        ("x = 1", "it implements no hook"),
        (COMMANDS, "a project's own plugin cannot implement dmrc_register_commands"),
    ],
)
def test_a_plugin_that_cannot_work_is_refused_with_what_is_wrong(tmp_path: Path, source: str, reason: str) -> None:
    plugins = Plugins()

    own = load(plugins, tmp_path / "own.py", source)

    assert own.state == "failed"
    assert reason in str(own.reason)
    assert plugins.implementations("dmrc_exchange_completed", (PROJECT,)) == ()


def test_a_plugin_of_a_project_sees_that_project_only(tmp_path: Path) -> None:
    plugins = Plugins()

    own = load(plugins, tmp_path / "own.py", HEARS)

    assert own.to_json()["project"] == PROJECT
    assert [one.plugin for one in plugins.implementations("dmrc_exchange_completed", (PROJECT,))] == [own]
    assert plugins.implementations("dmrc_exchange_completed", ("other",)) == ()
    assert plugins.implementations("dmrc_exchange_completed") == ()


def test_a_file_that_did_not_change_is_not_loaded_again_and_one_that_did_is(tmp_path: Path) -> None:
    plugins = Plugins()
    own = load(plugins, tmp_path / "own.py", HEARS)
    before = LocalPlugin.of(tmp_path / "own.py")

    assert plugins.find_local(PROJECT, before) is own
    assert plugins.unload_project(PROJECT, but=[before]) == []
    after = LocalPlugin.of(write(tmp_path / "own.py", f"# more\n{HEARS}"))
    assert plugins.find_local(PROJECT, after) is None
    assert plugins.unload_project(PROJECT, but=[after]) == [own]
    assert plugins.load_local(PROJECT, after).state == "loaded"


def test_a_file_that_changed_behind_our_back_is_refused(tmp_path: Path) -> None:
    seen = LocalPlugin.of(write(tmp_path / "own.py", HEARS))
    write(tmp_path / "own.py", f"# more\n{HEARS}")

    plugin = Plugins().load_local(PROJECT, seen)

    assert plugin.reason == "the file has changed since dmrc up. Run dmrc up again"


def errors_of(plugins: Plugins, name: str) -> object:
    """Return how many errors a plugin has; others may be installed beside it."""
    (found,) = [plugin for plugin in plugins.all() if plugin.name == name]
    return found.to_json()["errors"]


def test_a_plugin_that_brings_no_list_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "engines.py", "@hookimpl\ndef dmrc_register_engines(settings):\n    return 7")
    plugins = Plugins([str(path)])

    plugins.load()

    assert plugins.collect("dmrc_register_engines", settings=None) == []
    assert errors_of(plugins, "engines") == 1


def test_an_import_that_hangs_is_named_and_keeps_no_command_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dmrc.hooks.in_time.IMPORT_SECONDS", 1.0)
    hangs = tmp_path / "hangs.py"
    hangs.write_text("import time\ntime.sleep(30)\n")
    fine = tmp_path / "fine.py"
    fine.write_text("from dmrc import hookimpl\n\n@hookimpl\ndef dmrc_request(request):\n    return None\n")
    plugins = Plugins(wanted=(str(hangs), str(fine)))

    plugins.load()

    states = {plugin.name: plugin.state for plugin in plugins.all()}
    assert (states["hangs"], states["fine"]) == ("failed", "loaded")
    assert "plugin 'hangs' is skipped: its import took more than 1 s" in caplog.text


def test_an_object_that_hangs_while_it_is_made_keeps_no_command_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry point may name a class: its import was limited, and what the class does was not."""

    class Hangs:
        def __init__(self) -> None:
            time.sleep(30)

    entries = [SimpleNamespace(name="hangs", dist=None, load=lambda: Hangs)]
    monkeypatch.setattr("dmrc.hooks.plugins.entry_points", lambda group: entries)
    monkeypatch.setattr("dmrc.hooks.in_time.IMPORT_SECONDS", 1.0)
    plugins = Plugins()

    plugins.load()

    assert "plugin 'hangs' is skipped: its import took more than 1 s" in caplog.text


@pytest.mark.parametrize("hook", ["dmrc_register_commands(cli)", "dmrc_register_engines(settings)"])
def test_a_hook_that_hangs_where_a_command_waits_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    monkeypatch.setattr("dmrc.hooks.in_time.IMPORT_SECONDS", 1.0)
    path = write(tmp_path / "hangs.py", f"@hookimpl\ndef {hook}:\n    import time\n    time.sleep(30)")
    plugins = Plugins([str(path)])
    plugins.load()

    name, _, argument = hook.rstrip(")").partition("(")
    assert plugins.collect(name, **{argument: None}) == []

    assert errors_of(plugins, "hangs") == 1
