"""The servers of the daemon."""

import subprocess
import time
from email.utils import parsedate_to_datetime
from urllib.request import urlopen

import psutil

from tests.dmrc_command import Dmrc
from tests.polling import eventually


def test_a_daemon_that_has_nothing_to_do_rests_and_knows_the_time(dmrc: Dmrc) -> None:
    with subprocess.Popen([dmrc.program, "serve"], env=dmrc.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        daemon = psutil.Process(process.pid)

        def rests() -> bool:
            before = daemon.num_ctx_switches().voluntary
            time.sleep(2)
            return daemon.num_ctx_switches().voluntary - before <= 10  # each server sets its clock once a second

        eventually(rests, "rest: its start may go on for a moment")
        with urlopen(f"http://127.0.0.1:{dmrc.port}") as answer:
            date = parsedate_to_datetime(answer.headers["date"])
        asked_at = time.time()
        process.terminate()

    assert abs(date.timestamp() - asked_at) < 5
