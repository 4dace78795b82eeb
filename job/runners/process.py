"""What concerns the whole process: its memory, its streams and its signals."""

import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Self

PR_SET_DUMPABLE = 4
STDERR = 2
TO_RUN = {
    signal.SIGTERM: "stop",
    signal.SIGINT: "stop",
    signal.SIGHUP: "reload",
    signal.SIGUSR1: "refresh",
}
"""What signals mean to a process that runs until it is stopped."""
TO_END = dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), "stop")
"""What signals mean to a process that ends by itself."""

Command = Callable[[str, str], None]
"""Takes the command and the name of the signal; may be called at any point of the program."""


def harden() -> None:
    """Make no core dumps, and let no other process of this user read our memory (prctl(2))."""
    import ctypes  # noqa: PLC0415  # 7 ms of CPU

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def fill_streams() -> None:
    """Open /dev/null in place of standard streams that were closed before the start.

    Otherwise the next file that is opened, perhaps a token's, would become standard output.
    """
    opened = 0
    while opened <= STDERR:
        opened = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(opened, opened <= STDERR)
    os.close(opened)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as we live
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # the same


def hold_signals() -> None:
    """Block our signals: by default they kill, and PID 1 never gets them (signal(7))."""
    signal.pthread_sigmask(signal.SIG_BLOCK, TO_RUN)


def release_signals() -> None:
    """Unblock our signals, beginning with those that are pending."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_RUN)


class Signals:
    """Hears signals in the main thread for as long as the with-block lasts.

    Until `hand_to` is called, one that means "stop" raises `leaving`, since nothing has begun; the
    others are kept. At the end everything is restored; but a process that held signals before is
    about to end then, so late ones are ignored in every thread and can't change its status.
    """

    def __init__(self, meanings: Mapping[signal.Signals, str], leaving: SystemExit) -> None:
        """Hear the signals that `meanings` names."""
        self._meanings = meanings
        self._leaving = leaving
        self._heard: list[tuple[str, str]] = []
        self._command: Command | None = None

    def __enter__(self) -> Self:
        """Begin to hear signals, including those that were held."""
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._handlers = {number: signal.signal(number, self._on) for number in self._meanings}
        try:
            release_signals()
        except SystemExit:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers and the mask."""
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_IGN if number in self._mask else handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def hand_to(self, command: Command) -> None:
        """Hand each signal to `command` from now on, beginning with those heard so far."""
        self._command = command
        for heard in self._heard:
            command(*heard)

    def _on(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number)
        heard = self._meanings[name], name.name
        if self._command is not None:
            self._command(*heard)
            return
        # Kept in any case: an exception that a handler raises may get lost.
        self._heard.append(heard)
        if heard[0] == "stop":
            raise self._leaving
