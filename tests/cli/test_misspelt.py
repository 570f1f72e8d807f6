"""Misspelt words of a compose file are told with the word that was meant (#16, G)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.groups import compose_binary

_GOOD = "services: {app: {image: x, models: [llm]}}\nmodels: {llm: {model: ai/x}}\n"


@pytest.mark.compose
@pytest.mark.parametrize("reader", ["compose", "own"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_GOOD.replace("models: [llm]", "model: [llm]"), "services.app has no key 'model' (did you mean 'models'?)"),
        (_GOOD.replace("\nmodels", "\nmodles"), "the file has no key 'modles' (did you mean 'models'?)"),
        (_GOOD.replace("model: ai", "image: ai"), "models.llm has no key 'image'; known: model, context_size"),
        (_GOOD.replace("[llm]", "{llm: {endpoint_vars: A}}"), "'endpoint_vars' (did you mean 'endpoint_var'?)"),
        (_GOOD + "x_dmrc: {capture: off}\n", "'x_dmrc' (did you mean 'x-dmrc'?)"),
        ("services:\n\tapp: {image: x}\n", "dmrc: compose.yaml:2: a tab indents the line"),
        (
            _GOOD.replace("ai/x", "ai/x, x-dmrc: {lroa: a, parralel: 2}"),
            "'lroa' (did you mean 'lora'?) and no 'parralel'",
        ),
        (
            _GOOD.replace("image: x,", "image: x, x-dmrc: {default_model: lmm},"),
            "'lmm', which the service does not use (did",
        ),
        (
            _GOOD.replace("[llm]", "[lm]"),
            "dmrc: compose.yaml: services.app.models names 'lm', which is an undefined model (did you mean 'llm'?)",
        ),
        (_GOOD.replace("[llm]", "{lm: {}}"), "services.app.models names 'lm', which is an undefined model (did"),
        (_GOOD.replace("[llm]", "[other]"), "'other', which is an undefined model; declared: llm. Correct"),
        (_GOOD.replace("[llm]", "llm"), "services.app.models is 'llm'; write a list: [llm]"),
        (_GOOD.replace("[llm]", "{llm: URL}"), "services.app.models.llm is 'URL'; write a mapping: {endpoint_var: LLM"),
        (_GOOD.replace("[llm]", "{llm: {model_var: 3}}"), 'model_var must be a string, not 3; put it in quotes: "3"'),
        (
            _GOOD.replace("{llm: {model: ai/x}}", "[llm]"),
            "models is ['llm']; write a mapping: {llm: {model: ai/smollm2}}",
        ),
        (_GOOD.replace("{model: ai/x}", ""), "models.llm is empty; write a mapping: {model: ai/smollm2}"),
        (_GOOD.replace("{model: ai/x}", "ai/x"), "models.llm is 'ai/x'; write a mapping: {model: ai/x}"),
        (_GOOD.replace("ai/x", "3"), 'models.llm.model must be a string, not 3; put it in quotes: "3"'),
        (
            _GOOD.replace("ai/x", "ai/x, context_size: 4k"),
            "models.llm.context_size is '4k'; write an integer without quotes: 4096",
        ),
        (
            _GOOD.replace("ai/x", "ai/x, context_size: '${N:-64}'"),
            "'${N:-64}'; a ${VARIABLE} is a text to Compose; write",
        ),
        (
            _GOOD.replace("ai/x", "ai/x, runtime_flags: --temp 0"),
            'models.llm.runtime_flags is \'--temp 0\'; write a list: ["--temp", "0"]',
        ),
        (_GOOD.replace("ai/x", "ai/x, runtime_flags: [--temp, 0]"), 'must hold strings, not 0; put it in quotes: "0"'),
    ],
)
def test_it_is_told_with_what_was_meant(dmrc: Dmrc, tmp_path: Path, reader: str, text: str, words: str) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    binary = compose_binary() or tmp_path
    path = f"{binary.parent}:{os.environ['PATH']}" if reader == "compose" else os.environ["PATH"]

    refused = dmrc.run("config", cwd=tmp_path, env={"PATH": path})

    assert refused.returncode == 2
    assert words in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_two_models_with_errors_are_both_told(dmrc: Dmrc, tmp_path: Path) -> None:
    models = "models: {llm: {model: a, x-dmrc: {parallel: 0}}, other: {model: b, x-dmrc: {ready: never}}}\n"
    (tmp_path / "compose.yaml").write_text("services: {app: {image: x, models: [llm, other]}}\n" + models)

    said = dmrc.run("config", cwd=tmp_path).stderr

    assert "models.llm.x-dmrc.parallel" in said
    assert "models.other.x-dmrc.ready" in said


def test_all_that_is_wrong_under_x_dmrc_is_told_in_one_line(dmrc: Dmrc, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "x-dmrc: {auth: adress, openai: somtimes, captur: full}\n"
        "services:\n"
        "  app: {image: x, models: [llm], x-dmrc: {openai: nevr, default_model: lmm}}\n"
        "  web: {image: x, models: [llm], x-dmrc: {default_modl: llm}}\n"
        "models: {llm: {model: a, context_size: -5, x-dmrc: {keep_alive: forever, parallel: 0, redy: pulled}}}\n"
    )

    refused = dmrc.run("config", cwd=tmp_path)

    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    for words in (
        "models.llm.context_size must be a whole number above 0, not -5",
        "models.llm.x-dmrc.keep_alive must be a duration, not 'forever'. Use 5m, 1h, 0 or -1; ",
        "models.llm.x-dmrc.parallel must be a whole number above 0, not 0",
        "models.llm.x-dmrc has no field 'redy' (did you mean 'ready'?)",
        "x-dmrc.auth must be key or address, not 'adress'",
        "x-dmrc.openai must be auto, always or never, not 'somtimes'",
        "x-dmrc has no field 'captur' (did you mean 'capture'?)",
        "services.app.x-dmrc.openai must be auto, always or never, not 'nevr'",
        "services.app.x-dmrc.default_model is 'lmm', which the service does not use (did you mean 'llm'?)",
        "services.web.x-dmrc has no field 'default_modl' (did you mean 'default_model'?)",
    ):
        assert words in refused.stderr
