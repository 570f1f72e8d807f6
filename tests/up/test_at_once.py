"""Several commands that prepare one project at the same time (#16, E6)."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

from tests.polling import eventually
from tests.up.compose_project import STAY, TINY, ComposeProject, question, service
from tests.up.conftest import MakeProject
from tests.up.foreground import foreground


def _write(project: ComposeProject, script: str = STAY, model: str = TINY) -> None:
    models = {"llm": {"model": model, "context_size": 256, "x-dmrc": {"parallel": 1}}}
    project.write({"services": {"app": service(script, models=["llm"])}, "models": models})


def _start(project: ComposeProject, *arguments: str) -> subprocess.Popen[str]:
    dmrc = project.dmrc
    return subprocess.Popen(
        [dmrc.program, *arguments],
        env=dmrc.environment,
        cwd=project.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _slow_engine(project: ComposeProject, directory: Path) -> None:
    """Have an engine that never becomes ready, so that a load lasts until it is given up."""
    server = directory / "llama-server"
    server.write_text("#!/bin/sh\nexec sleep 600\n")
    server.chmod(0o755)
    project.dmrc.environment["DMRC_LLAMA_SERVER"] = str(server)


def test_one_that_is_stopped_after_it_registered_leaves_the_key_of_the_other_one_alone(
    own_project: MakeProject,
) -> None:
    shop = own_project("race")
    _write(shop, f"while true; do {question()}; /busybox sleep 0.2; done")
    first = _start(shop, "up", "--detach")
    eventually(lambda: shop.dmrc.registered() == ["race"], "registration of the first")
    first.send_signal(signal.SIGSTOP)

    second = _start(shop, "up", "--detach")
    printed = second.communicate(timeout=60)[0]
    first.send_signal(signal.SIGCONT)
    printed += first.communicate(timeout=60)[0]

    assert (first.returncode, second.returncode) == (0, 0), printed
    before = len(shop.exchanges())
    after = eventually(lambda: len(found := shop.exchanges()) > before + 3 and found, "questions of the container")
    assert {each["status"] for each in after} == {200}


def test_five_at_once_make_one_project(own_project: MakeProject) -> None:
    shop = own_project("five")
    _write(shop, f"{question()}; {STAY}")

    commands = [_start(shop, "up", "--detach") for _ in range(5)]
    printed = [command.communicate(timeout=120)[0] for command in commands]

    assert [command.returncode for command in commands] == [0] * 5, "\n".join(printed)
    networks = shop.engine.docker("network", "ls", "--filter", "name=five_default", "--format", "{{.Name}}").split()
    assert networks == ["five_default"]
    assert shop.answers("app")["app"]["status"] == 200


def test_three_in_the_foreground_make_one_project(own_project: MakeProject) -> None:
    """They stay, so each starts when the one before has made network and containers; else `network … is ambiguous`."""
    shop = own_project("three")
    _write(shop, f"{question()}; {STAY}")

    with contextlib.ExitStack() as stack:
        argv, environment = [shop.dmrc.program, "up"], shop.dmrc.environment
        commands = [
            stack.enter_context(foreground(argv, environment, shop.directory, has_terminal=False)) for _ in range(3)
        ]
        eventually(lambda: all("Attaching to app-1" in command.text for command in commands), "three that run")
        networks = shop.engine.docker("network", "ls", "--filter", "name=three_default", "--format", "{{.Name}}")
        answer = shop.answers("app")["app"]
        for command in commands:
            command.interrupt()

    assert (networks.split(), answer["status"]) == (["three_default"], 200)


def test_up_and_exec_at_once_have_one_key(own_project: MakeProject) -> None:
    shop = own_project("both")
    _write(shop, f"{question()}; {STAY}")

    commands = [_start(shop, "up", "--detach"), _start(shop, "exec", "app", "--", "printenv", "OPENAI_API_KEY")]
    printed = [command.communicate(timeout=120)[0] for command in commands]

    assert [command.returncode for command in commands] == [0, 0], "\n".join(printed)
    assert shop.keys["app"] in printed[1]
    assert shop.answers("app")["app"]["status"] == 200


def test_ctrl_c_of_one_leaves_what_the_other_one_registered(own_project: MakeProject, tmp_path: Path) -> None:
    shop = own_project("interrupted")
    _slow_engine(shop, tmp_path)
    _write(shop)
    first = _start(shop, "up", "--detach")
    eventually(lambda: shop.dmrc.registered() == ["interrupted"], "registration of the first")
    ready = shop.dmrc.run("env", "app", cwd=shop.directory)  # which loads nothing

    first.send_signal(signal.SIGINT)
    code = first.wait(60)
    first.communicate()

    assert (ready.returncode, code) == (0, 130)
    assert shop.dmrc.registered() == ["interrupted"]


def test_where_all_are_interrupted_nothing_is_registered(own_project: MakeProject, tmp_path: Path) -> None:
    shop = own_project("nobody")
    _slow_engine(shop, tmp_path)
    _write(shop)
    commands = [_start(shop, "up", "--detach") for _ in range(2)]
    eventually(lambda: shop.dmrc.registered() == ["nobody"], "registration")

    printed = []
    for command in commands:
        command.send_signal(signal.SIGINT)
        printed.append(command.communicate(timeout=60)[0])

    assert [command.returncode for command in commands] == [130, 130], "\n".join(printed)
    assert shop.dmrc.registered() == []
