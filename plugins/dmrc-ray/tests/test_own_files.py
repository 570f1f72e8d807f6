"""Where processes on a node keep their files, and that those of killed ones go."""

import os
import subprocess
import sys

import pytest
from dmrc_ray.own_files import own_directory


@pytest.mark.process
def test_a_directory_is_this_users_alone_and_goes_with_the_next_process_when_its_own_was_killed() -> None:
    code = "import os, dmrc_ray.own_files as o; print(o.own_directory(), flush=True); os.kill(os.getpid(), 9)"
    left = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    assert os.path.isdir(left)  # noqa: PTH112 a name as it was printed

    own = own_directory()

    try:
        assert not os.path.exists(left)  # noqa: PTH110
        assert own.stat().st_mode & 0o077 == 0
    finally:
        own.rmdir()
