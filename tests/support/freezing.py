"""A child process that stands still, for certain."""

import os
import signal


def freeze(pid: int) -> None:
    """Stop the child, and return when it is: SIGSTOP alone lets its other threads answer once more.

    One thread takes the signal and stops the rest; on a busy machine it can be a while before it runs.
    """
    os.kill(pid, signal.SIGSTOP)
    told = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert told is not None
    assert told.si_code == os.CLD_STOPPED, "it ended before it could be stopped"
