"""Convert any name to a safe file name: labels, classes, row ids and tags are never used as paths directly."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote

LONGEST = 150  # bytes; file systems allow 255 per name, and suffixes, keys and temporary endings are added
_DIGEST = 16  # hexadecimal digits
# First or last characters that hide a file, go up a folder or are removed by some file system; and the digest's mark.
_SPECIAL = re.compile(r"^[. ]|[. ]$|~")
_EMPTY = "%"  # percent-encoding never produces it


def safe_name(name: str) -> str:
    """Convert a name to a file name that has no folder, is not hidden, uses plain characters and is unique.

    Characters other than ASCII letters and digits, ``-``, ``_``, a space or an inner dot are percent-encoded. A name
    that would be longer than 150 bytes is shortened to its end, ``~`` and a digest; for all others :func:`name_of`
    returns the original name.

    Args:
        name: any text.

    Example:
        >>> safe_name("slides/a 1"), name_of("slides%2Fa 1")
        ('slides%2Fa 1', 'slides/a 1')
    """
    safe = quote(name, safe=" ", errors="surrogatepass")
    safe = _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", safe) or _EMPTY
    if len(safe) <= LONGEST:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    start = len(safe) - (LONGEST - _DIGEST - 1)
    if "%" in safe[start - 2 : start]:  # do not cut a percent code in two
        start = safe.rindex("%", 0, start) + 3
    return f"{safe[start:].lstrip('. ')}~{digest}"


def name_of(safe: str) -> str | None:
    """The name that :func:`safe_name` received; None if it was too long, because then only a digest is stored."""
    if "~" in safe:
        return None
    return "" if safe == _EMPTY else unquote(safe, errors="surrogatepass")
