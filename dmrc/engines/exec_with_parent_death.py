"""Becomes a program that ends with its parent: `python -m dmrc.engines.exec_with_parent_death PROGRAM ARGUMENTS…`.

What ends it outlives `exec` (see `die_with_parent`), so nothing stays between the daemon and the program.
"""

import os
import sys

from dmrc.engines.parent_death import die_with_parent

if __name__ == "__main__":
    os.umask(0o177)  # the socket is the daemon's alone
    die_with_parent()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 the daemon's own child
