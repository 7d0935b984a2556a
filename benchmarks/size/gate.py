"""`Gate`: a way to a server that can be shut, as a destination is away and comes back."""

from __future__ import annotations

import contextlib
import socket
import threading

_BACKLOG = 64
_READ_BYTES = 65_536


class Gate:
    """Passes on the connections to its port while it is open; shut, it refuses them."""

    def __init__(self, port: int) -> None:
        """Take a port, shut, that will lead to another one of this machine."""
        self._to = port
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])

    def open(self) -> None:
        """Take connections from now on."""
        self._listening.listen(_BACKLOG)
        threading.Thread(target=self._take, daemon=True).start()

    def close(self) -> None:
        """Take no more connections; those that are there end by themselves."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _take(self) -> None:
        while True:
            try:
                come, _ = self._listening.accept()
            except OSError:
                # Closed.
                return
            threading.Thread(target=self._connect, args=(come,), daemon=True).start()

    def _connect(self, come: socket.socket) -> None:
        with come, socket.create_connection(("127.0.0.1", self._to)) as gone:
            back = threading.Thread(target=_pass_on, args=(gone, come), daemon=True)
            back.start()
            _pass_on(come, gone)
            back.join()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(_READ_BYTES):
            other.sendall(data)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
