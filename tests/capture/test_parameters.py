import pytest

from dmrc.capture.parameters import OfferedTool, parameters_of, tools_of
from tests.capture.recorded import recorded

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "Tells it."}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            {"model": "m", "messages": [], "max_tokens": 5, "temperature": 0.2, "stop": ["a"], "logit_bias": {"1": 2}},
            ["Temperature 0.2", "Max tokens 5", 'Stop ["a"]', 'logit_bias {"1": 2}'],
        ),
        ({"input": "x", "max_output_tokens": 9, "reasoning": {"effort": "low"}, "store": False},
         ["Max tokens 9", 'Reasoning {"effort": "low"}', "store false"]),
        ({"system": "x", "max_tokens": 9, "stop_sequences": ["b"], "tool_choice": {"type": "any"}},
         ["Max tokens 9", 'Stop ["b"]', 'Tool choice {"type": "any"}']),
        ({"prompt": "x", "options": {"num_predict": 7, "seed": 1, "mirostat": 2}, "format": "json"},
         ["Max tokens 7", "Seed 1", "Format json", "options.mirostat 2"]),
    ],
)  # fmt: skip
def test_parameters_of_each_dialect_have_one_name_for_people(request_, expected):
    assert [f"{one.label} {one.text}" for one in parameters_of(recorded("chat.json"), request_)] == expected


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {**WEATHER, "parameters": SCHEMA}},
        {"type": "function", **WEATHER, "parameters": SCHEMA},
        {**WEATHER, "input_schema": SCHEMA},
    ],
)
def test_tools_of_each_dialect_are_told(tool):
    (told,) = tools_of({"tools": [tool]})

    assert (told.name, told.description) == ("weather", "Tells it.")
    assert '"city"' in told.schema


@pytest.mark.parametrize("tools", [None, 5, "x", [None, 3], {"a": 1}])
def test_what_is_no_tool_is_none(tools):
    assert tools_of({"tools": tools}) == []


def test_a_tool_of_the_server_has_its_type_as_a_name():
    assert tools_of({"tools": [{"type": "web_search"}]}) == [OfferedTool("web_search", "", "")]
