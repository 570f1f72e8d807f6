import json

from dmrc.gateway.routes.progress_events import ModelEvents
from dmrc.sources import ProgressEvent


def test_each_line_tells_of_a_layer_and_of_the_size_of_all() -> None:
    events = ModelEvents("pull")

    first = events.progress(ProgressEvent("Waiting", "sha256:a", 0, 3 << 20))
    second = events.progress(ProgressEvent("Downloading", "sha256:b", 1 << 19, 1 << 20))

    assert first.endswith(b"\n")
    assert first.count(b"\n") == 1
    assert json.loads(first)["layer"] == {"id": "sha256:a", "size": 3 << 20, "current": 0}
    assert json.loads(second) == {
        "type": "progress",
        "message": "Downloaded: 0.50 MB",
        "total": 4 << 20,
        "layer": {"id": "sha256:b", "size": 1 << 20, "current": 1 << 19},
        "mode": "pull",
    }


def test_the_other_lines_have_no_layer() -> None:
    events = ModelEvents("push")

    lines = [events.progress(ProgressEvent("Waiting")), events.success("done"), events.error('it\n"failed"')]

    assert [json.loads(line)["type"] for line in lines] == ["progress", "success", "error"]
    for line in lines:
        document = json.loads(line)
        assert line.count(b"\n") == 1
        assert (document["total"], document["layer"], document["mode"]) == (0, {"size": 0, "current": 0}, "push")
    assert json.loads(lines[2])["message"] == 'it\n"failed"'
