"""A child that does nothing but answer that it is healthy: it is there in 20 ms. Its arguments: SOCKET STORY."""

import signal
import socket
import sys
import time

signal.alarm(60)
path, story = sys.argv[1:]
if story == "slow":
    time.sleep(0.05)
if story == "dies":
    sys.exit("no reason")
with socket.socket(socket.AF_UNIX) as server:
    server.bind(path)
    server.listen(64)
    while True:
        connection, _ = server.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
