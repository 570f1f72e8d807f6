"""Prints what `llama-server --list-devices` does, for an xllamacpp: `python -m …xllamacpp_devices [DIRECTORY]`.

After a card that is a part of the processor it says so, which the program does not.

`DIRECTORY` has the wheel, as `pip install --target` lays it out; without it the wheel is this environment's.
"""

from __future__ import annotations

import sys

from dmrc.engines.llama_cpp.xllamacpp_placement import usable_cards
from dmrc.engines.parent_death import die_with_parent

_MIB = 1 << 20


def main(directories: list[str]) -> None:
    """Print the list."""
    die_with_parent()
    sys.path[:0] = directories
    lines = [
        f"  {device['name']}: {device['description']} "
        f"({device['memory_total'] // _MIB} MiB, {device['memory_free'] // _MIB} MiB free)"
        f"{' integrated' if str(device['type']).endswith('_IGPU') else ''}"
        for device in usable_cards()
    ]
    print("Available devices:", *(lines or ["  (none)"]), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
