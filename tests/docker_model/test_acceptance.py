"""Docker Model Runner's own end-to-end and integration tests, and Compose's, by their numbers here.

E1 to E30 are the cases of e2e/*.go, I1 to I11 those of cmd/cli/commands/integration_test.go (docker/model-runner
642c7211), C1 to C7 those of pkg/e2e/model_test.go and providers_test.go (docker/compose f7297942). `CASES` says which
test of ours holds each; those that no other test holds are below.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import urllib3

from tests.dmrc_command import Dmrc
from tests.registry import RegistryServer

ROOT = Path(__file__).parent.parent
_HERE, _ENDS, _OPENAI = "docker_model/test_acceptance.py", "docker_model/test_end_to_end.py", "gateway/test_openai.py"
_DMR, _FORMS, _PROVIDER = "gateway/test_dmr_models.py", "cli/test_reference_forms.py", "up/test_provider.py"
CASES = {
    "E1 an unknown model": (_OPENAI, "test_an_unknown_model_is_a_404_that_says_how_to_get_it"),
    "E2 malformed JSON": (_OPENAI, "test_a_bad_request_is_a_400_in_openais_words"),
    "E3 no messages": (_HERE, "test_e3_e5_e15_over_http"),
    "E4 a pull twice": (_DMR, "test_create_pulls_and_tells_of_each_layer"),
    "E5 one model": (_HERE, "test_e3_e5_e15_over_http"),
    "E6 Ollama's show": ("gateway/test_ollama_models.py", "test_tags_show_copy_and_delete"),
    "E7 remove": (_DMR, "test_tag_push_and_remove"),
    **{f"E{number} on the command line": (_HERE, "test_e8_to_e14_the_life_of_a_model") for number in range(8, 15)},
    "E15 the models": (_HERE, "test_e3_e5_e15_over_http"),
    "E16 a chat": (_ENDS, "test_a_chat_is_the_assistants"),
    "E17 a stream": (_ENDS, "test_a_stream_ends_with_done"),
    "E18 a response": (_ENDS, "test_a_response_carries_its_text"),
    "E19 a response of a schema": (_ENDS, "test_a_response_of_a_schema_carries_it_as_text"),
    "E20 Anthropic's messages": (_ENDS, "test_a_message_has_text"),
    "E21 Ollama's chat": (_ENDS, "test_ollamas_answers_are_done"),
    "E22 Ollama's generate": (_ENDS, "test_ollamas_answers_are_done"),
    "E23 Ollama's tags": ("gateway/test_ollama_models.py", "test_tags_show_copy_and_delete"),
    "E24 unload all, remove": (_HERE, "test_e8_to_e14_the_life_of_a_model"),
    **{
        f"E{number} one of five at the same time": (_ENDS, "test_five_chats_at_the_same_time_are_all_answered")
        for number in range(25, 30)
    },
    "E30 a pull before the answers": (_DMR, "test_create_pulls_and_tells_of_each_layer"),
    "I1 pull": (_FORMS, "test_pull_model"),
    "I2 inspect": (_FORMS, "test_inspect_model"),
    "I3 tag": (_FORMS, "test_tag_model"),
    "I4 push": (_FORMS, "test_push_model"),
    "I5 remove": (_FORMS, "test_remove_model_by_every_form"),
    "I6 remove several": (_FORMS, "test_remove_several_models"),
    "I7 remove a tag": (_FORMS, "test_remove_one_tag"),
    "I8 remove by ID": (_FORMS, "test_remove_by_id_with_several_tags_is_refused"),
    "I9 remove by force": (_FORMS, "test_remove_by_id_with_force"),
    "I10 errors of remove": (_FORMS, "test_remove_errors"),
    "I11 package": (_FORMS, "test_package_model"),
    "C1 a container of compose run": ("docker_model/test_compose.py", "test_c1_a_container_of_compose_run_is_served"),
    "C2 stop of a provider": (_PROVIDER, "test_stop_unloads_and_start_answers_again"),
    "C3 several providers": (_PROVIDER, "test_c3_to_c7_several_providers_and_variables_that_are_there"),
    "C4 raw variables": (_PROVIDER, "test_a_dependant_is_given_the_model_and_answers"),
    "C5 over a variable": (_PROVIDER, "test_c3_to_c7_several_providers_and_variables_that_are_there"),
    "C6 over one of the shell": (_PROVIDER, "test_c3_to_c7_several_providers_and_variables_that_are_there"),
    "C7 over a map": (_PROVIDER, "test_c3_to_c7_several_providers_and_variables_that_are_there"),
}


@pytest.mark.parametrize("case", CASES)
def test_there_is_a_test_for_every_case(case: str) -> None:
    path, name = CASES[case]

    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_no_case_is_left_out() -> None:
    numbers = {f"E{number}" for number in range(1, 31)} | {f"I{number}" for number in range(1, 12)}

    assert {case.split()[0] for case in CASES} == numbers | {f"C{number}" for number in range(1, 8)}


@pytest.mark.engine
def test_e8_to_e14_the_life_of_a_model(docker_model: Dmrc, registry: RegistryServer, gguf: Path) -> None:
    """E8 pull, E9 list, E10 run, E11 ps, E12 unload, E13 ps, E14 rm; and E24, unload --all."""
    registry.push_model("ai/smollm2:135M-Q4_0", gguf)
    model = f"{registry.address}/ai/smollm2:135M-Q4_0"

    assert docker_model.ok("pull", model) == "Model pulled successfully\n"
    assert docker_model.ok("pull", model).startswith("Using cached model: ")
    assert "smollm2" in docker_model.ok("ls")
    assert docker_model.ok("run", model, "Say hi in one word.").strip()
    assert all(word in docker_model.ok("ps") for word in ("smollm2", "llama.cpp"))
    assert docker_model.ok("unload", model) == "Unloaded 1 model(s).\n"
    assert not any(word in docker_model.ok("ps") for word in ("smollm2", "llama.cpp"))
    docker_model.ok("run", "--detach", model)
    assert docker_model.ok("unload", "--all", "--backend", "vllm") == "No such model(s) running.\n"
    assert docker_model.ok("unload", "--all") == "Unloaded 1 model(s).\n"
    assert docker_model.ok("rm", "-f", model).startswith("Untagged: ")
    assert docker_model.ok("ls", "-q") == ""


@pytest.mark.engine
def test_e3_e5_e15_over_http(docker_model: Dmrc, gguf: Path) -> None:
    """E3 a chat without messages is no failure of the server, E5 one model and E15 all of them are listed."""
    docker_model.ok("package", "--gguf", gguf, "--context-size", "64", "ai/smollm2:135M-Q4_0")
    docker_model.ok("start-runner")
    url = f"http://127.0.0.1:{docker_model.port}/engines/v1"

    def ask(method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        answer = urllib3.request(method, f"{url}/{path}", json=body, retries=False, timeout=60)
        return answer.status, json.loads(answer.data)

    listed, found = ask("GET", "models"), ask("GET", "models/ai/smollm2:135M-Q4_0")
    status, _ = ask("POST", "chat/completions", {"model": "ai/smollm2:135M-Q4_0", "messages": [], "max_tokens": 4})

    assert (listed[0], found[0]) == (200, 200)
    assert "smollm2" in json.dumps(listed[1]["data"])
    assert found[1]["id"]
    assert status < 500
