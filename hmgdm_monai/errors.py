"""The error that stands for bad input: one line that a user can act on."""

from __future__ import annotations

import sys
from types import TracebackType


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


def input_error_in(error: BaseException | None) -> InputError | None:
    """The InputError that an error is or was raised from, if any: config parsers wrap what goes wrong inside them."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def one_line_errors() -> None:
    """Let a program that ends by an InputError say its line alone, without a traceback; likewise for Ctrl-C.

    For programs, not for libraries: it replaces ``sys.excepthook``. All other errors keep their traceback, and the exit
    status stays that of an error.
    """
    from tqdm import tqdm  # writes on a line of its own where a progress bar was cut short

    default = sys.__excepthook__

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = input_error_in(error)
        if isinstance(error, KeyboardInterrupt):
            tqdm.write("interrupted; the same command goes on from here", file=sys.stderr)
        elif found is not None:
            tqdm.write(f"error: {found}", file=sys.stderr)
        else:
            default(kind, error, trace)

    sys.excepthook = hook
