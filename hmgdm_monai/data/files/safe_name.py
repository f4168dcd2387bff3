"""One way from any name to the name of a file: labels, classes, row ids and tags never become paths as they are."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote

LONGEST = 150  # bytes; file systems end a name at 255, and suffixes, keys and temporary endings come on top
_DIGEST = 16  # hexadecimal digits
# Ends that hide a file, climb a folder or are cut by some file system; and the mark that a digest follows.
_SPECIAL = re.compile(r"^[. ]|[. ]$|~")
_EMPTY = "%"  # no percent-encoding gives it


def safe_name(name: str) -> str:
    """A name as a file may be called: no folder, not hidden, of plain characters, and another one for every name.

    What is not a letter or digit of ASCII, ``-``, ``_``, a blank or an inner dot is percent-encoded. A name that would
    be longer than 150 bytes is its end, ``~`` and a digest; of all others :func:`name_of` gives back the name.

    Args:
        name: any text.
    """
    safe = quote(name, safe=" ", errors="surrogatepass")
    safe = _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", safe) or _EMPTY
    if len(safe) <= LONGEST:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    start = len(safe) - (LONGEST - _DIGEST - 1)
    if "%" in safe[start - 2 : start]:  # no code of a character is cut in two
        start = safe.rindex("%", 0, start) + 3
    return f"{safe[start:].lstrip('. ')}~{digest}"


def name_of(safe: str) -> str | None:
    """The name that :func:`safe_name` was given; None where it was too long, so that only its digest is kept."""
    if "~" in safe:
        return None
    return "" if safe == _EMPTY else unquote(safe, errors="surrogatepass")
