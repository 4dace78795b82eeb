"""A socket that another thread can end at any moment."""

import contextlib
import socket
import threading


class CancellableSocket:
    """Holds the socket of one exchange for whoever has to end it."""

    def __init__(self) -> None:
        """Begin without a socket."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cancelled = False

    def keep(self, opened: socket.socket) -> socket.socket:
        """Hold a duplicate: TLS takes the original object away. One already cancelled stays so."""
        with self._lock:
            self._socket = opened.dup()
        if self._is_cancelled:
            self.cancel()
        return opened

    def cancel(self) -> None:
        """End the connection under whoever uses it; without one, end it as soon as it is there."""
        with self._lock:
            self._is_cancelled = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the duplicate."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
