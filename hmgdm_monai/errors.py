"""The error that stands for bad input: one line that a user can act on."""


class InputError(ValueError):
    """Bad input from the user.

    Its message is one line: what is wrong, where (file, row, column), and what to do about it. Whoever works through a
    cohort catches this type alone, notes the line, leaves the item out and goes on; anything else is a defect of ours
    and must surface.
    """
