from dmrc.capture.conversation import Message, ToolCall
from dmrc.ui.cache import CacheMark
from dmrc.ui.messages import folded, message_views
from dmrc.ui.rendering import LONGEST_SHOWN

HASH = "9f" * 32
MARKER = f"[media image/png, 45123 bytes, sha256:{HASH}]"


def test_a_long_text_is_folded_and_a_little_longer_one_is_not():
    long, short = folded("x" * 5000), folded("x" * 1700)

    assert (len(long.before), len(long.more), long.characters, long.is_whole) == (1500, 3500, 5000, True)
    assert (len(short.before), short.more) == (1700, "")
    assert len(folded("x" * (LONGEST_SHOWN + 5)).before + folded("x" * (LONGEST_SHOWN + 5)).more) == LONGEST_SHOWN
    assert not folded("x" * (LONGEST_SHOWN + 5)).is_whole


def test_what_is_marked_is_before_the_fold():
    text = folded("a" * 3000 + "b" + "c" * 3000, (3000, 3001))

    assert (len(text.before), text.marked, len(text.after), len(text.more)) == (3000, "b", 200, 2800)
    assert folded("a" * 50_000, (30_000, 30_001)).marked == ""


def test_pictures_stand_apart_and_only_a_line_of_its_own_is_one():
    said = f"What is it?\n{MARKER}\nAnd {MARKER} here?"
    (view,) = message_views([Message("user", said)], {HASH: {"width": 640, "height": 480}})

    words, picture, more = view.parts
    assert (words.before, picture.about, picture.is_kept) == ("What is it?", "PNG, 640 × 480, 45.12 kB", False)
    assert more.before == f"And {MARKER} here?"


def test_a_document_is_not_shown_whatever_is_kept():
    marker = MARKER.replace("image/png", "image/svg+xml")
    (view,) = message_views([Message("user", marker)], {HASH: {"base64": "PHN2Zz4="}})

    assert (view.parts[0].about, view.parts[0].is_kept) == ("image/svg+xml, 45.12 kB", False)


def test_results_stand_at_their_calls_and_others_stay_messages():
    calls = (ToolCall("c1", "weather", '{"city": "Oslo"}'), ToolCall("c2", "time", "{}"))
    told = [
        Message("user", "Well?"),
        Message("assistant", "", calls=calls),
        Message("tool", '{"degrees": -3}', call_id="c1"),
        Message("tool", "lost", call_id="c9"),
    ]

    user, assistant, lost = message_views(told, {})

    assert [one.number for one in (user, assistant, lost)] == [1, 2, 4]
    first, second = assistant.calls
    assert first.result is not None
    assert (first.result.number, first.result.name) == (3, "weather")
    assert first.result.parts[0].before == '{\n  "degrees": -3\n}'
    assert second.result is None


def test_the_place_that_differs_is_marked_in_its_message_and_in_no_other():
    mark = CacheMark("message", 2, "message 2 (user)", 3, "new", [])
    one, two = message_views([Message("user", "an old text"), Message("user", "an new text")], {}, mark)
    (other,) = message_views([Message("user", "of other words")], {}, CacheMark("message", 1, "", 3, "new", []))

    assert one.mark is None
    assert two.mark is mark
    assert (two.parts[0].before, two.parts[0].marked, two.parts[0].after) == ("an ", "new", " text")
    assert other.parts[0].marked == ""
