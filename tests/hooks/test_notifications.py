import time
from pathlib import Path

import pytest

from dmrc.hooks import notifications as module
from dmrc.hooks.notifications import Notifications
from dmrc.hooks.plugins import Plugins
from tests.hooks.test_filters import EXCHANGE
from tests.hooks.written import PROJECT, loaded
from tests.polling import eventually

NOTES = """
import threading
heard = []
@hookimpl
def dmrc_exchange_completed(exchange):
    heard.append((exchange, threading.current_thread().name))
"""
SLEEPS = NOTES.replace("    heard", "    time.sleep(60)\n    heard")
RAISES = NOTES.replace("    heard", "    raise ValueError('no')\n    heard")


def tell(plugins: Plugins, notifications: Notifications, times: int = 1) -> None:
    for _ in range(times):
        notifications.tell(plugins.implementations("dmrc_exchange_completed", (PROJECT,)), exchange=EXCHANGE)


def heard(plugins: Plugins, name: str) -> list[tuple[object, str]]:
    """What the plugin has noted, in its own module."""
    (one,) = (
        each for each in plugins.implementations("dmrc_exchange_completed", (PROJECT,)) if each.plugin.name == name
    )
    found: list[tuple[object, str]] = one.function.__globals__["heard"]
    return found


def count(plugins: Plugins, name: str, what: str) -> object:
    return next(plugin.to_json()[what] for plugin in plugins.all() if plugin.name == name)


def test_a_plugin_that_sleeps_delays_nobody_else(tmp_path: Path) -> None:
    plugins, notifications = loaded(tmp_path, NOTES, SLEEPS), Notifications()
    began = time.monotonic()

    tell(plugins, notifications, times=5)

    eventually(lambda: len(heard(plugins, "one")) == 5)
    assert {thread for _, thread in heard(plugins, "one")} == {"dmrc-notifications-one"}
    notifications.close(timeout=0.2)
    assert time.monotonic() - began < 50
    assert count(plugins, "two", "dropped") == 4


def test_a_plugin_that_raises_hears_of_the_next_one_all_the_same(tmp_path: Path) -> None:
    plugins, notifications = loaded(tmp_path, NOTES, RAISES), Notifications()

    tell(plugins, notifications, times=3)
    notifications.close()

    assert len(heard(plugins, "one")) == 3
    assert (count(plugins, "two", "calls"), count(plugins, "two", "errors")) == (3, 3)


def test_what_does_not_fit_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_LENGTH", 2)
    plugins, notifications = loaded(tmp_path, SLEEPS), Notifications()

    tell(plugins, notifications)
    eventually(lambda: notifications._queues and not next(iter(notifications._queues.values()))._waiting)
    tell(plugins, notifications, times=5)

    assert count(plugins, "one", "dropped") == 3


def test_the_thread_of_a_plugin_that_was_unloaded_ends_when_it_has_told_all(tmp_path: Path) -> None:
    plugins, notifications = loaded(tmp_path, NOTES), Notifications()
    noted = heard(plugins, "one")
    tell(plugins, notifications)
    thread = next(iter(notifications._queues.values()))._thread

    for plugin in plugins.unload_project(PROJECT):
        notifications.forget(plugin)

    thread.join(30)
    assert not thread.is_alive()
    assert len(noted) == 1


def test_a_plugin_is_waited_for_until_it_has_heard_all(tmp_path: Path) -> None:
    waits = "@hookimpl\ndef dmrc_exchange_completed(exchange):\n    go.wait(60)"
    plugins = loaded(tmp_path, f"import threading\ngo = threading.Event()\n{waits}")
    (one,) = plugins.implementations("dmrc_exchange_completed", (PROJECT,))
    plugin = one.plugin
    notifications = Notifications()
    assert notifications.settle(plugin, 0)

    tell(plugins, notifications)

    assert not notifications.settle(plugin, 0.01)
    one.function.__globals__["go"].set()
    assert notifications.settle(plugin, 10)
    assert plugin.to_json()["calls"] == 1
    notifications.close()
