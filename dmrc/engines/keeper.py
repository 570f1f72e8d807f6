"""Becomes a program that ends with its parent: `python -m dmrc.engines.keeper PROGRAM ARGUMENTS…`.

The death signal that a process asks for outlives `exec`, so nothing stays between the daemon and the program. Source:
prctl(2), PR_SET_PDEATHSIG. Where there is no such signal, the program may outlive a daemon that was killed with -9.
"""

import os
import sys

from dmrc.engines.parent import die_with_parent

if __name__ == "__main__":
    os.umask(0o177)
    die_with_parent()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 the daemon's own child
