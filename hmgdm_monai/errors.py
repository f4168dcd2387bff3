"""The error that stands for bad input: one line that a user can act on."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from types import FrameType, TracebackType

# What a file system answers where the user's folders, rights or space are at fault, and not the program.
_OF_THE_FILE_SYSTEM = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.ENAMETOOLONG),
}
_GO_ON = "what is finished is kept; the same command goes on from here"


class InputError(ValueError):
    """Bad input from the user.

    Its message is one line: what is wrong, where (file, row, column), and what to do about it. Whoever works through a
    cohort catches this type alone, notes the line, leaves the item out and goes on; anything else is a defect of ours
    and must surface.

    Example:
        >>> from hmgdm_monai import InputError, load_encoder
        >>> try:
        ...     load_encoder("missing.pt")
        ... except InputError as error:
        ...     print(str(error).split(";")[0])
        missing.pt: no pretrained model there
    """


class Terminated(KeyboardInterrupt):
    """The process was told to end by SIGTERM, as batch systems do; it ends as by Ctrl-C."""


def file_error(path: str | os.PathLike[str], error: OSError) -> InputError:
    """The one line for a file or folder that the file system refuses.

    Args:
        path: of the file or folder.
        error: what the system said.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."
    return InputError(f"{shown}: {reason}; choose another folder, or see to its rights and space")


def input_error_in(error: BaseException | None) -> InputError | None:
    """The InputError that an error is or was raised from, if any: config parsers wrap what goes wrong inside them.

    A file that the system refuses for want of space or rights counts as one.
    """
    refused = error
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    if error is not None:
        return error
    # By cause alone: an error that another one was merely raised after may have been dealt with.
    while refused is not None and not isinstance(refused, OSError):
        refused = refused.__cause__
    if refused is None or refused.errno not in _OF_THE_FILE_SYSTEM:
        return None
    return file_error(refused.filename or "a file of the run", refused)


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that it cleans up and says how to go on.

    For programs of one process; see :func:`end_together_on_sigterm` for several. Forked children end by the signal, as
    they do by default.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # Python lets the main thread alone set what signals do
    owner = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def end_together_on_sigterm(tells: bool) -> None:
    """Let SIGTERM end this process at once, for processes that train together, which torchrun ends one by one.

    An exception would not do: a process that cleans up may wait for one that has ended.

    Args:
        tells: whether this process says how to go on; the first one of a run does.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    owner = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if tells and os.getpid() == owner:
            os.write(2, f"terminated; {_GO_ON}\n".encode())
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def one_line_errors() -> None:
    """Let a program that ends by an InputError say its line alone, without a traceback; likewise for Ctrl-C, SIGTERM.

    For programs, not for libraries: it replaces ``sys.excepthook``. All other errors keep their traceback, and the exit
    status stays that of an error. For debugging, ``HMGDM_TRACEBACK=1`` in the environment shows every traceback.
    """
    from tqdm import tqdm  # writes on a line of its own where a progress bar was cut short

    default = sys.__excepthook__

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = input_error_in(error)
        if os.environ.get("HMGDM_TRACEBACK") == "1":
            default(kind, error, trace)
        elif isinstance(error, KeyboardInterrupt):
            how = "terminated" if isinstance(error, Terminated) else "interrupted"
            tqdm.write(f"{how}; {_GO_ON}", file=sys.stderr)
        elif found is not None:
            tqdm.write(f"error: {found}", file=sys.stderr)
        else:
            default(kind, error, trace)

    sys.excepthook = hook
