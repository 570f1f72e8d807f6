"""Ctrl+C in the moment in which the daemon has registered a project, and has not answered yet."""

from __future__ import annotations

import signal
import subprocess

from tests.dmrc_command import Dmrc
from tests.polling import eventually


def test_a_command_that_is_interrupted_while_it_registers_leaves_no_project(dmrc: Dmrc) -> None:
    directory = dmrc.home / "shop"
    directory.mkdir()
    (directory / "slow.py").write_text("import time\ntime.sleep(5)\n")  # the answer waits for its import
    (directory / "compose.yaml").write_text(
        "name: shop\nservices: {app: {image: none, models: [llm]}}\nx-dmrc: {plugins: [./slow.py]}\n"
        "models: {llm: {model: far, x-dmrc: {upstream: 'http://127.0.0.1:9/v1'}}}\n"
    )
    dmrc.ok("requests", "--json")  # so that the daemon is not what it waits for
    command = [dmrc.program, "env", "app"]
    with subprocess.Popen(
        command, env=dmrc.environment, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        eventually(lambda: dmrc.registered() == ["shop"], "its registration")
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=60)[0]

    assert process.returncode == 130, printed
    eventually(lambda: dmrc.registered() == [], "its end", seconds=20)
