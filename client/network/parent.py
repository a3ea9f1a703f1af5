"""No process of ours outlives the one that started it: the kernel sends it SIGTERM when that one ends, in any way."""

import ctypes
import os
import signal
from collections.abc import Callable

_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER of linux/prctl.h
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def ends_with_me() -> Callable[[], None]:
    """For Popen's `preexec_fn`: the child gets SIGTERM as soon as the thread that started it is gone.

    It also hears every signal, whatever its parent had blocked.
    """
    parent = os.getpid()

    def tie() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _prctl(_SET_DEATH_SIGNAL, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return tie


def adopt_orphans() -> None:
    """Processes that lose their parent below this one become its children, so that it can wait for them."""
    _prctl(_SET_SUBREAPER, 1, 0, 0, 0)
