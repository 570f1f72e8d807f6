"""Run the benchmarks by name, or all: a table on stdout, and the figures as JSON where `--json FILE` says."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from dataclasses import asdict
from pathlib import Path

from tests import bench
from tests.bench.figure import Figure, LeftOut


def main() -> int:
    """Return 0 when every bar is held, and 1 otherwise."""
    names = _names()
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(names)}; all of them by default")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(names)):
        parser.error(f"there is no benchmark '{unknown[0]}'; there are {', '.join(names)}")

    figures: list[Figure] = []
    for name in options.names or names:
        try:
            figures += (measured := importlib.import_module(f"tests.bench.{name}").measure())
        except LeftOut as why:
            print(f"{name} is left out: {why}", file=sys.stderr)
        else:
            print("\n".join(map(_line, measured)), flush=True)
    if options.json:
        options.json.write_text(json.dumps([{**asdict(one), "met": one.is_met} for one in figures], indent=2) + "\n")
    return 0 if all(figure.is_met for figure in figures) else 1


def _names() -> list[str]:
    """Return the modules here that have a `measure`: a name with an underscore in front is a part of one."""
    not_benchmarks = {"__main__", "figure"}
    found = {module.name for module in pkgutil.iter_modules(bench.__path__)} - not_benchmarks
    return sorted(name for name in found if not name.startswith("_"))


def _line(figure: Figure) -> str:
    bar = ""
    if figure.bar is not None:
        sign = "≤" if figure.better == "lower" else "≥"
        bar = f"{'met' if figure.is_met else 'MISSED':6}  {sign} {figure.bar:g} {figure.unit}"
    details = " against ".join(filter(None, (figure.ours, figure.theirs)))
    return f"{figure.name:62}  {figure.value:9.3g} {figure.unit:2}  {bar:20}  {details}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
