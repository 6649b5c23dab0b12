"""Ports for brokers of the tests that are written in Python."""

import contextlib
import socket

HOST = "127.0.0.1"


def free_port(beside=0):
    """A port that is free, and so are as many behind it as are wanted `beside`. They lie below those the kernel gives to
    clients: a client that tries one of those again and again before anybody listens there in the end connects to itself."""
    while True:
        with contextlib.ExitStack() as sockets:
            any_port = sockets.enter_context(socket.socket())
            any_port.bind((HOST, 0))
            number = 10_000 + any_port.getsockname()[1] % 20_000
            with contextlib.suppress(OSError):
                for port in range(number, number + beside + 1):
                    sockets.enter_context(socket.socket()).bind((HOST, port))
                return number
