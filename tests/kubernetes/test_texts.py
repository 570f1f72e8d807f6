"""Any text of a compose file arrives in a cluster as it is: kubectl reads YAML by other rules than Python."""

from __future__ import annotations

import base64
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from dmrc.kubernetes.folder import kustomization, yaml_file
from dmrc.kubernetes.gateway import secret
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.exporting import Exporter

_TEXTS = [
    # What one of YAML 1.1, YAML 1.2, Python and Go takes for something else than text.
    *("y", "n", "Y", "yes", "on", "Off", "TRUE", "null", "Null", "~", "", "=", "<<"),
    *("1e3", "1E5", "6e512", "1e+3", "+.5", "-1", "+1", "1.", ".5", "0o14", "014", "0777", "0x1f", "0b1", "1_000"),
    *("1:2", "12:30:45", "2026-01-01", ".inf", "-.inf", ".nan", "NaN", "infinity"),
    # What means something in YAML.
    *("- a", "a: b", "# x", "a #b", "? a", "-", "---", "...", "--- \nx: 1", "'", '"', "\\", "|", "> x", "trailing:"),
    *("%x", "@x", "`x", "!x", "&x", "*x", "{a", "[a", "{{ x }}", "$(HOME)", "$HOME", "${HOME}", "`id`", "'; id #"),
    # Ends of lines and space, and what is no printable character.
    *(" a", "a ", "a\n", "a\n\n", "\na", "  a\n b\n", "a\n\tb", "a\tb", "\t", "a\rb", "a\r\nb", "a\x85b", "a\u2028b"),
    *("a\u2029b", "\ufeffx", "x\u00a0y", "\u200b", "a\x7fb", "\x1b[31m", "é", "\U0001f600", f"{'a' * 200} {'b' * 200}"),
]


@pytest.mark.parametrize("line", ["\n", "\r", "\x85", "\u2028", "\u2029"])
def test_a_comment_stays_a_comment(line: str) -> None:
    written = yaml_file("a.yaml", [{"kind": "Mine"}], [f"Not converted: user '{line}kind: Injected'", "\x00\x1b[31m"])

    assert list(yaml.safe_load_all(written.content)) == [{"kind": "Mine"}]
    assert all(text.isprintable() for text in written.content.splitlines())


def test_texts_arrive_in_a_cluster_as_they_are(cluster: Cluster, tmp_path: Path) -> None:
    values = {f"text-{number}": text for number, text in enumerate(_TEXTS)}
    documents = [secret("shop", "texts", "service", values)]
    for file in (yaml_file("base/texts.yaml", documents), kustomization(["texts.yaml"])):
        (tmp_path / file.name).parent.mkdir(exist_ok=True)
        (tmp_path / file.name).write_text(file.content)
    cluster.kubectl("create", "namespace", "texts")

    cluster.kubectl("apply", "--namespace", "texts", "--validate=strict", "-k", tmp_path / "base")

    (got,) = cluster.get("secrets", "--namespace", "texts")
    assert {name: base64.b64decode(text).decode() for name, text in got["data"].items()} == values


def test_kubernetes_puts_no_variable_into_a_command(exporter: Exporter) -> None:
    texts = ["$HOME", "$$", "$(HOME)", "$$(HOME)", "$$$(HOME)", "${HOME}", "a$", "$(", "100 $"]
    written = [text.replace("$", "$$") for text in texts]  # for Compose
    flags = [word for text in written for word in ("--grammar", text)]
    model = {"model": "registry.example/me/tiny:v1", "runtime_flags": flags}
    service = {"image": "example/web:1", "entrypoint": written, "command": written, "models": ["llm"]}

    exported = exporter.export(yaml.safe_dump({"services": {"web": service}, "models": {"llm": model}}))

    container = exported.pod("web")["containers"][0]
    assert list(map(_as_started, container["command"])) == list(map(_as_started, container["args"])) == texts
    arguments = [*map(_as_started, exported.pod("dmrc-model-llm")["containers"][0]["args"])]
    assert [after for word, after in pairwise(arguments) if word == "--grammar"] == texts


def _as_started(word: str) -> str:
    """Return what a container is started with.

    Source: https://github.com/kubernetes/kubernetes/blob/v1.36.3/third_party/forked/golang/expansion/expand.go
    """
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else "<a variable>", word)
