"""What the whole process does against leaks."""

import ctypes
import resource

PR_SET_DUMPABLE = 4


def harden() -> None:
    """Make no core dumps, and let no other process of this user read our memory (prctl(2))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):  # Linux only
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
