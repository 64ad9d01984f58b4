"""The reference of the calls that never wait, for platforms without POSIX sockets, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

    from typing_extensions import Buffer


def send_now(socket: socket, data: Buffer) -> int:
    """Sends what the socket takes at once.

    The native way keeps the interpreter's lock, as a few microseconds of copying are sooner over than the lock is won
    back from a thread that prepares pictures; from 128 KiB on it lets go.

    Args:
        socket: one that does not block.
        data: its bytes.

    Returns:
        How many bytes were sent; -1 where it would have had to wait.

    Raises:
        OSError: the peer is gone, or the socket is closed.
    """
    try:
        return socket.send(data)
    except BlockingIOError:
        return -1


def receive_now(socket: socket, target: Buffer) -> int:
    """Receives what is there into ``target``.

    Returns:
        How many bytes; 0 at the end of the stream, -1 where it would have had to wait.

    Raises:
        OSError: as :func:`send_now`.
    """
    try:
        return socket.recv_into(target)
    except BlockingIOError:
        return -1
