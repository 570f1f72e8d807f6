"""Leads a unix socket to a TCP port: `python3 -c THIS SOCKET PORT`, inside a container, where nothing of dmrc is.

A container without a network has a loopback of its own, which nobody outside reaches. The Python there may be any.
"""

import contextlib
import os
import socket
import sys
import threading


def forward(source: socket.socket, sink: socket.socket) -> None:
    """Copy bytes until one side has ended, and tell the other one."""
    try:
        data = source.recv(65536)
        while data:
            sink.sendall(data)
            data = source.recv(65536)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def serve(caller: socket.socket, port: int) -> None:
    """Connect one caller; a port that nobody listens on yet hangs up."""
    with caller:
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            return
        with server:
            back = threading.Thread(target=forward, args=(server, caller), daemon=True)
            back.start()
            forward(caller, server)
            back.join()


if __name__ == "__main__":
    listener = socket.socket(socket.AF_UNIX)
    os.umask(0o177)
    listener.bind(sys.argv[1])
    listener.listen(128)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0], int(sys.argv[2])), daemon=True).start()
