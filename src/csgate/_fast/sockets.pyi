"""The native core; the functions of ``csgate._fast.pure_sockets``, whose docstrings hold here too."""

from socket import socket

from typing_extensions import Buffer

def send_now(socket: socket, data: Buffer) -> int: ...
def receive_now(socket: socket, target: Buffer) -> int: ...
