"""Plugins of a project: what they hear, when they are loaded, when they go."""

import json
from pathlib import Path

from tests.gateway.plugged import MODEL, WATCHES, Shop, notes
from tests.polling import eventually


def test_a_plugin_of_a_project_hears_of_that_project_only(shop: Shop, tmp_path: Path) -> None:
    other = Shop(shop.dmrc, tmp_path / "other", name="other")
    mine, theirs = shop.plugin("watches", WATCHES), other.plugin("watches", WATCHES)
    shop.up()
    other.up(context_size=128)

    shop.ask()
    shop.ask(key="")
    other.ask()

    def heard_all() -> bool:
        return all(notes(each, hook) for each in (mine, theirs) for hook in ("completed", "started"))

    eventually(heard_all)
    for plugin, name in ((mine, "shop"), (theirs, "other")):
        assert [what["project"] for _, what in notes(plugin, "completed")] == [name]
        assert [what["name"] for _, what in notes(plugin, "project")] == [name]
    assert len(notes(mine, "started")) == len(notes(theirs, "started")) == 1


def test_a_plugin_is_loaded_anew_when_its_file_changed_and_at_the_next_up_only(shop: Shop) -> None:
    shop.plugin("answers", "@hookimpl\ndef dmrc_request(request):\n    return Response(body={'version': 1})")
    shop.up()
    shop.plugin("answers", "@hookimpl\ndef dmrc_request(request):\n    return Response(body={'version': 2})")

    before = shop.ask()
    shop.up()
    after = shop.ask()

    assert (before[1], after[1]) == (b'{"version": 1}', b'{"version": 2}')


def test_a_daemon_that_starts_again_loads_what_was_up_but_no_file_that_changed(shop: Shop) -> None:
    shop.plugin("answers", "@hookimpl\ndef dmrc_request(request):\n    return Response(body={'version': 1})")
    watches = shop.plugin("watches", WATCHES)
    shop.up()
    shop.dmrc.ok("stop-runner")
    shop.plugin("answers", "@hookimpl\ndef dmrc_request(request):\n    return Response(body={'version': 2})")

    shop.dmrc.ok("run", MODEL, "hi")

    states = shop.states()
    assert states["watches"]["state"] == "loaded"
    assert states["answers"]["reason"] == "the file has changed since dmrc up. Run dmrc up again"
    assert len(notes(watches, "project")) == 2


def test_down_lets_go_of_the_plugins_after_they_heard_the_end_of_their_runner(shop: Shop) -> None:
    watches = shop.plugin("watches", WATCHES)
    shop.up()
    shop.ask()

    shop.dmrc.daemon_client().request("DELETE", "/projects/shop")

    eventually(lambda: not shop.states())
    eventually(lambda: notes(watches, "stopped"))  # what waited for it is told in a thread of its own
    assert [what["reason"] for _, what in notes(watches, "stopped")] == ["unloaded"]


def test_config_shows_what_a_plugin_adds_and_env_gives_it(shop: Shop) -> None:
    shop.plugin(
        "adds",
        "@hookimpl\ndef dmrc_service_environment(service):\n"
        "    return {'TRACING': service.name, 'OPENAI_MODEL': 'x', 'OWN': 'x'}",
    )
    shop.up(service=", environment: {OWN: mine}")

    shown = json.loads(shop.dmrc.ok("config", "--json", cwd=shop.directory))["services"]["web"]
    given = json.loads(shop.dmrc.ok("env", "web", "--format", "json", cwd=shop.directory))

    assert shown["added_by"] == {"TRACING": "adds", "OPENAI_MODEL": "adds"}
    assert shown["kept"] == ["OWN"]
    assert (given["TRACING"], given["OPENAI_MODEL"], given.get("OWN")) == ("web", "x", None)
    assert "#   TRACING=web  (plugin adds)" in shop.dmrc.ok("config", cwd=shop.directory)
    override = (shop.dmrc.home / "projects" / "shop" / "override.yaml").read_text()
    assert "TRACING: web" in override
