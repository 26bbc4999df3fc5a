"""A TCP proxy before a server that loses or delays connections as a test wants it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue


def _at_once() -> float:
    return 0.0


class CuttingProxy:
    """Passes bytes on to a server on the loopback address while used as a context manager.

    Args:
        port: the server's.
        cut: asked for each chunk, with the number of the connection from 0, the bytes that it has sent to the server
            so far, and the bytes that it got back; true cuts the connection.
        delay_s: asked for each chunk how long it is under way; none overtakes another, as in TCP.

    Attributes:
        port: where it listens.
        connections: how many there were.
    """

    def __init__(
        self, port: int, cut: Callable[[int, int, int], bool], delay_s: Callable[[], float] = _at_once
    ) -> None:
        self._server_port = port
        self._cut = cut
        self._delay_s = delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0

    def __enter__(self) -> CuttingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Cut every connection now."""
        while self._open:
            _cut(self._open.pop())

    def _accept(self) -> None:
        while True:
            try:
                host, _ = self._listener.accept()
            except OSError:
                return
            try:
                device = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:  # the server is down for a while
                _cut(host)
                continue
            self._open += [host, device]
            _Connection(self.connections, host, device, self._cut, self._delay_s).start()
            self.connections += 1


class _Connection:
    def __init__(
        self,
        number: int,
        host: socket.socket,
        device: socket.socket,
        cut: Callable[[int, int, int], bool],
        delay_s: Callable[[], float],
    ) -> None:
        self._number = number
        self._ends = (host, device)
        self._cut = cut
        self._delay_s = delay_s
        self._passed = [0, 0]

    def start(self) -> None:
        for way in (0, 1):
            under_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
            threading.Thread(target=self._take, args=(way, under_way), daemon=True).start()
            threading.Thread(target=self._deliver, args=(way, under_way), daemon=True).start()

    def _take(self, way: int, under_way: SimpleQueue[tuple[float, bytes]]) -> None:
        chunk = b""
        with contextlib.suppress(OSError):
            while chunk := self._ends[way].recv(4096):
                self._passed[way] += len(chunk)
                if self._cut(self._number, *self._passed):
                    break
                under_way.put((time.monotonic() + self._delay_s(), chunk))
        under_way.put((time.monotonic(), b""))
        if chunk:
            self._end()

    def _deliver(self, way: int, under_way: SimpleQueue[tuple[float, bytes]]) -> None:
        with contextlib.suppress(OSError):
            while True:
                due_s, chunk = under_way.get()
                if not chunk:
                    break
                time.sleep(max(0.0, due_s - time.monotonic()))
                self._ends[1 - way].sendall(chunk)
        self._end()

    def _end(self) -> None:
        for end in self._ends:
            _cut(end)


def _cut(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()
