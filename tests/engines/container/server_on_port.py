"""A server with OpenAI's routes on a TCP port, of Python's own parts: `python3 -c THIS MODEL PORT`.

It answers what it is asked to look at: files of the model, or whether it can connect to addresses.
"""

import json
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def looked_at(question: str) -> str:
    """Return what comes of it, for each word: `10.0.0.1:80` is connected to, `/` written to, `model` read."""
    found = []
    for word in question.split():
        try:
            if word == "model":
                found.append(" ".join(sorted(path.name for path in Path(sys.argv[1]).iterdir())))
            elif word.startswith("/"):
                Path(word, "written").write_text("x")
                found.append("written")
            elif word == "id":
                found.append(f"{os.getuid()} {Path('/proc/self/status').read_text().split('CapEff:')[1].split()[0]}")
            else:
                host, port = word.rsplit(":", 1)
                socket.create_connection((host, int(port)), timeout=3).close()
                found.append("connected")
        except OSError as error:
            found.append(os.strerror(error.errno) if error.errno else str(error))
    return "; ".join(found)


class Handler(BaseHTTPRequestHandler):
    """Chats, streams, and tells its health."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Tell its health."""
        self.answer(b"{}", "application/json")

    def do_POST(self) -> None:
        """Chat: the answer is what comes of the last message."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = looked_at(asked["messages"][-1]["content"])
        choice = {"index": 0, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        if not asked.get("stream"):
            whole = {**choice, "message": {"role": "assistant", "content": said}}
            self.answer(json.dumps({"choices": [whole], "usage": usage}).encode(), "application/json")
            return
        chunks = [{"choices": [{**choice, "delta": {"content": said}}]}, {"choices": [], "usage": usage}]
        events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        self.answer("".join([*events, "data: [DONE]\n\n"]).encode(), "text/event-stream")

    def answer(self, body: bytes, kind: str) -> None:
        """Send it."""
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
