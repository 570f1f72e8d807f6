"""What Compose prints beside a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.compose.command import Compose, ComposeOptions

_DOCKER = r"""#!/bin/sh
cat >&2 <<'END'
time="2026-11-27T04:00:00Z" level=warning msg="The \"TOKEN\" variable is not set. Defaulting to a blank string."
time="2026-11-27T04:00:00Z" level=warning msg="/src/\a\x1b[1m\u00a0\U000e0001/compose.yaml: `version` is obsolete"
END
printf 'name: shop\nservices: {}\n'
"""


@pytest.mark.process
def test_warnings_are_read_as_go_quotes_them(tmp_path: Path) -> None:
    """As JSON, a directory with a control character in its name was a traceback."""
    (tmp_path / "docker").write_text(_DOCKER)
    (tmp_path / "docker").chmod(0o755)
    compose = Compose({"PATH": f"{tmp_path}:/usr/bin:/bin"})

    compose.config(ComposeOptions(files=(tmp_path / "compose.yaml",)))

    assert compose.warnings == [
        'The "TOKEN" variable is not set. Defaulting to a blank string.',
        "/src/\a\x1b[1m\u00a0\U000e0001/compose.yaml: `version` is obsolete",
    ]
