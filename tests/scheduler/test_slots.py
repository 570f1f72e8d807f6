"""Conversations and services keep to the slot that holds their prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from dmrc.dialects.dialect import Call
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.exchange import JsonValue
from dmrc.project import ServingOptions
from dmrc.scheduler.sent_prompt import SentPrompt
from dmrc.scheduler.slots import Seat, Slots
from tests.groups import LLAMA_SERVER
from tests.scheduler.asking import Ask, Conversation, Told, ask, by_leases, words
from tests.scheduler.conftest import Workshop, play
from tests.scheduler.test_prompt_cache import by_its_own_defaults, until_loaded
from tests.tiny_gguf import write_tiny_llama


def asked(slots: Slots, *texts: str, system: str = "") -> int | None:
    """One request that has ended; return its slot."""
    seat = begun(slots, *texts, system=system)
    slots.leave(seat)
    return seat.number


def begun(slots: Slots, *texts: str, system: str = "") -> Seat:
    messages = [{"role": "system", "content": system}] if system else []
    return slots.take({"messages": messages + [{"role": "user", "content": text} for text in texts]})


@pytest.mark.parametrize("has_cache", [True, False])
def test_a_conversation_comes_back_to_its_slot(has_cache: bool) -> None:
    slots = Slots(3, has_cache=has_cache)
    long = ["a" * 900, "b" * 900]

    first = [asked(slots, text * 100) for text in ("x y", "p q", "u v")]

    assert sorted(map(str, first)) == ["0", "1", "2"]
    assert [asked(slots, text * 100, "more") for text in ("u v", "x y", "p q")] == [first[2], first[0], first[1]]
    assert asked(slots, *long) == asked(slots, *long, "and")


@pytest.mark.parametrize("has_cache", [True, False])
def test_short_requests_share_a_slot_and_leave_the_long_prompt_of_a_neighbour_alone(has_cache: bool) -> None:
    slots = Slots(4, has_cache=has_cache)
    neighbour = asked(slots, "n" * 6000, system="be nice")

    short = {asked(slots, f"how is {number}", system="be nice") for number in range(20)}

    assert len(short) == 1
    assert neighbour not in short
    assert asked(slots, "n" * 6000, "go on", system="be nice") == neighbour


@pytest.mark.parametrize("has_cache", [True, False])
def test_conversations_with_one_long_system_message_get_slots_of_their_own(has_cache: bool) -> None:
    slots, system = Slots(4, has_cache=has_cache), "s" * 4000
    texts = {number: [f"{number}" * 400] for number in range(4)}
    for _ in range(4):
        for number, said in texts.items():
            asked(slots, *said, system=system)
            said.append(f"{number}{len(said)}" * 200)

    assert len({asked(slots, *said, system=system) for said in texts.values()}) == 4


def test_a_conversation_that_has_ended_gives_its_slot_up_in_the_end() -> None:
    """However long it was: two short ones that take turns would push each other out of one slot for ever."""
    slots = Slots(2, has_cache=False)
    for number in range(2):
        asked(slots, f"{number}" * 9000)

    turns = [asked(slots, text * 300) for _ in range(40) for text in ("x y", "p q")]

    assert turns[-1] != turns[-2]


def test_nobody_is_told_a_slot_that_is_busy() -> None:
    slots = Slots(2, has_cache=True)
    first = begun(slots, "a" * 500)
    second = begun(slots, "a" * 500, "b")
    third = begun(slots, "a" * 500, "c")

    assert {first.number, second.number} == {0, 1}
    assert third.number is None  # there is no slot: the engine lets it wait
    slots.leave(first)
    fourth = begun(slots, "d")
    assert fourth.number is None  # the third one may have that
    slots.leave(third)
    slots.leave(fourth)
    assert begun(slots, "e").number == first.number


@pytest.mark.parametrize("more", [{"n": 2}, {"best_of": 3}, {"id_slot": 1}, {"prompt": ["a", "b"]}, {"messages": None}])
def test_a_request_that_takes_slots_of_its_own_choice_leaves_the_choice_to_the_engine(more: dict[str, object]) -> None:
    slots = Slots(4, has_cache=True)
    messages = {} if "prompt" in more else {"messages": [{"role": "user", "content": "hello"}]}

    seat = slots.take({**messages, **more})

    assert seat.number is None
    assert begun(slots, "hello").number is None
    slots.leave(seat)


def test_of_several_who_hung_up_the_slots_are_free_when_the_engine_has_let_go_of_all() -> None:
    slots = Slots(2, has_cache=True)
    first, second = begun(slots, "a"), begun(slots, "b")

    slots.leave_behind(first, others=1)

    assert begun(slots, "c").number is None
    slots.leave_behind(second, others=0)
    assert not any(slot.is_busy for slot in slots.all)


def test_one_slot_is_no_choice_to_be_told_of() -> None:
    assert asked(Slots(1, has_cache=True), "hello") is None


def test_pictures_are_told_apart_and_not_kept() -> None:
    slots = Slots(2, has_cache=True)

    def with_picture(data: str) -> int | None:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        text = {"type": "text", "text": "What is this? " * 100}
        seat = slots.take({"messages": [{"role": "user", "content": [picture, text]}]})
        slots.leave(seat)
        return seat.number

    assert with_picture("A" * 100) == with_picture("A" * 100) != with_picture("B" * 100)
    assert "AAAA" not in repr([slot.prompt for slot in slots.all])


def tool(name: str) -> dict[str, JsonValue]:
    return {"type": "function", "function": {"name": name}}


def chat(*texts: str, system: str = "", **more: object) -> dict[str, object]:
    said = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return {"messages": [{"role": "system", "content": system}, *said], **more}


def took(slots: Slots, *documents: dict[str, object]) -> list[int | None]:
    """Requests one after the other; return their slots."""
    seats = []
    for document in documents:
        seats.append(slots.take(document))
        slots.leave(seats[-1])
    return [seat.number for seat in seats]


@pytest.mark.parametrize("has_cache", [True, False])
@pytest.mark.parametrize("system", ["", "s" * 3000])
def test_a_conversation_that_goes_on_with_other_tools_stays_in_its_slot(has_cache: bool, system: str) -> None:
    slots, texts = Slots(3, has_cache=has_cache), ["a b " * 100, "yes", "more"]
    kept = took(slots, chat("other " * 100), chat(texts[0], system=system, tools=[tool("look")]))

    later = took(
        slots,
        chat(*texts, system=system, tools=[tool("look"), tool("go")]),
        chat(*texts, "yes", "and", system=system),
        chat(*texts, "yes", "and", "no", "so", system=system, chat_template_kwargs={"enable_thinking": False}),
    )

    assert kept[0] != kept[1]
    assert later == [kept[1]] * 3


def test_two_who_ask_the_same_with_other_tools_get_slots_of_their_own() -> None:
    """Where the server's cache would not bring the one back for the other."""
    slots, messages = Slots(3, has_cache=False), ["hello " * 100]
    both = [chat(*messages, tools=[tool("look")]), chat(*messages)]

    turns = took(slots, *both * 4)

    assert turns[-4:-2] == turns[-2:]
    assert turns[-1] != turns[-2]


def test_the_first_tools_that_are_the_same_are_a_common_beginning() -> None:
    one, more, other = (
        SentPrompt.of(chat("hello", system="s" * 99, tools=[tool(name) for name in names]))
        for names in (["look"], ["look", "go"], ["go"])
    )
    assert one and more and other

    assert [one.common(one), one.common(more), one.common(other)] == [100 + 400 + 6, 100 + 400, 100]
    assert one.is_spoken_on_by(other)
    assert not one.begins(other)


def test_a_grammar_for_the_answer_is_no_other_prompt() -> None:
    slots, texts = Slots(2, has_cache=True), ["hello " * 100]
    json_object = {"type": "json_object"}

    numbers = took(slots, chat(*texts), chat(*texts, response_format=json_object), chat(*texts, tool_choice="none"))

    assert len(set(numbers)) == 1
    assert slots.all[1].prompt is None


def test_a_text_and_the_same_text_as_parts_are_one_prompt() -> None:
    text, parts = ({"role": "user", "content": content} for content in ("one\ntwo", [*map(part, ("one", "two"))]))
    as_text, as_parts = SentPrompt.of({"messages": [text]}), SentPrompt.of({"messages": [parts]})
    assert as_text and as_parts

    assert as_text.begins(as_parts)
    assert as_text.size == as_parts.size == as_parts.common(as_text)


def part(text: str) -> dict[str, object]:
    """A text that is marked for another server's cache."""
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}


def test_the_number_is_written_before_the_callers_own_bytes() -> None:
    call = Call("/v1/completions", {"prompt": "é"}, raw='\n{"prompt": "é"}'.encode())

    assert call.in_slot(2).body() == '{"id_slot": 2, "prompt": "é"}'.encode()
    assert call.in_slot(None) is call
    assert replace(call, raw=None).in_slot(3).document == {"prompt": "é", "id_slot": 3}


@pytest.mark.parametrize("flags", [("--slot-prompt-similarity", "0.5"), ("-sps", "0.5"), ("--no-cache-prompt",)])
def test_who_says_by_a_flag_how_slots_are_chosen_has_it_so(flags: tuple[str, ...]) -> None:
    assert LlamaCpp(None).tells_slots(ServingOptions(mode="completion"))
    assert not LlamaCpp(None).tells_slots(ServingOptions(mode="completion", runtime_flags=flags))
    assert not LlamaCpp(None).tells_slots(ServingOptions(mode="embedding"))


async def six_conversations(ask: Ask) -> list[Told]:
    conversations = [Conversation(number) for number in range(6)]
    return [await one.turn(ask) for _ in range(3) for one in conversations]


async def two_services(ask: Ask) -> list[Told]:
    """Each with a prompt of about 1,400 tokens, in turn."""
    systems = [f"{number} {words(number, 276)}" for number in (1, 2)]
    return [
        await ask([{"role": "system", "content": system}, {"role": "user", "content": f"momo {turn}"}])
        for turn in range(8)
        for system in systems
    ]


async def short_beside_long(ask: Ask) -> list[Told]:
    neighbour, told = Conversation(7, length=120), []
    for turn in range(12):
        if turn % 4 == 0:
            told.append(await neighbour.turn(ask))
        told.append(await ask([{"role": "user", "content": f"kiti {turn}"}]))
    return told


async def one_system_message(ask: Ask) -> list[Told]:
    """Four conversations of one assistant, whose answers are short beside what it is told."""
    conversations = [Conversation(number, system=words(9, 96), length=6) for number in range(4)]
    return [await one.turn(ask) for _ in range(8) for one in conversations]


Scene = Callable[[Ask], Awaitable[list[Told]]]
PROGRAMS = [
    pytest.param(None, id="wheel", marks=pytest.mark.engine),
    pytest.param(LLAMA_SERVER, id="llama-server", marks=pytest.mark.llama_server),
]


def counted(workshop: Workshop, binary: str | None, scene: Scene, parallel: int) -> tuple[int, int, int]:
    """Play a scene with dmrc's runner and with llama.cpp's server as it is by itself; return all, ours and theirs."""
    scheduler = workshop.scheduler(engine=LlamaCpp(binary))
    told: dict[str, list[Told]] = {}

    async def story() -> None:
        told["ours"] = await scene(by_leases(scheduler, workshop.target(2048, parallel=parallel)))
        with by_its_own_defaults(workshop.gguf, workshop.directory, binary, parallel) as session:
            await until_loaded(session)

            async def ask_it(messages: list[dict[str, str]], **more: JsonValue) -> Told:
                return await ask(session, messages, **more)

            told["theirs"] = await scene(ask_it)
            await session.close()

    play(scheduler, story)
    ours, theirs = (sum(one.computed for one in told[name]) for name in ("ours", "theirs"))
    print(f"{scene.__name__}: computed {ours}, by llama.cpp's own defaults {theirs}")
    assert [one.said for one in told["ours"]] == [one.said for one in told["theirs"]]
    return ours + sum(one.cached for one in told["ours"]), ours, theirs


@pytest.mark.parametrize("binary", PROGRAMS)
@pytest.mark.parametrize(
    ("scene", "parallel", "share", "of_theirs"),
    [
        (six_conversations, 4, 0.6, 1.0),
        (two_services, 1, 0.15, 1.0),
        (short_beside_long, 4, 0.6, 1.05),  # the words of the template, once more in another slot
        (one_system_message, 4, 0.25, 0.75),
    ],
)
def test_no_more_is_computed_than_by_llama_cpps_own_defaults(
    workshop: Workshop, binary: str | None, scene: Scene, parallel: int, share: float, of_theirs: float
) -> None:
    total, ours, theirs = counted(workshop, binary, scene, parallel)

    assert ours <= of_theirs * theirs
    assert ours < share * total


async def more_tools_each_turn(ask: Ask) -> list[Told]:
    """Three conversations of one assistant, and services that ask once, in between."""
    conversations = [Conversation(number, system=words(9, 24)) for number in range(3)]
    told = []
    for turn in range(4):
        tools: list[JsonValue] = [tool(name) for name in ("look", "go", "write", "read")[: turn + 1]]
        for one in conversations:
            told.append(await one.turn(ask, tools=tools))
            told.append(await ask([{"role": "user", "content": f"kiti {one.number} {turn}"}]))
    return told


_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% endif %}"
_REST = (
    "{% for one in messages %}{% if one['role'] != 'system' %}"
    "<|{{ one['role'] }}|>{{ one['content'] }}{% endif %}{% endfor %}"
)
_TOOLS = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"


@pytest.mark.engine
@pytest.mark.parametrize(
    "template",
    [_SYSTEM + _TOOLS + _REST, _TOOLS + _SYSTEM + _REST, _SYSTEM + _REST + _TOOLS, _SYSTEM + _REST],
    ids=["behind the system message", "first", "last", "nowhere"],
)
def test_wherever_a_template_puts_tools_no_more_is_computed_than_by_llama_cpps_own_choice(
    workshop: Workshop, template: str
) -> None:
    gguf = write_tiny_llama(workshop.directory / "tools.gguf", context_length=4096, chat_template=template)

    _, ours, theirs = counted(Workshop(workshop.directory, gguf), None, more_tools_each_turn, parallel=4)

    assert ours <= 1.01 * theirs  # the first word of a template, once more in another slot
