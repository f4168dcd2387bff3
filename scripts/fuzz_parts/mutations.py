"""Damage a file in ways that happen to files, or that an attacker would choose; the same seed gives the same bytes."""

from __future__ import annotations

import copy
import random
import re
import struct
from collections.abc import Callable
from typing import Any

# Numbers at which counts, sizes and offsets go wrong.
NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_TEXTS = (
    *("0", "-1", "1e308", "-1e308", "1e999", "NaN", "Infinity", "1e-320", "99999999999999999999", "0x10", "1_0", "٣"),
    *('""', "null", "true", "[]", "{}", "[[]]", ",", '"', "\n", "\0", "\ufeff", "=1+0", "../../x", "/etc/passwd"),
)
_NUMBER_TEXT = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_VALUES = (0, 1, -1, 3, 10**9, 2**63, -(2**63), 0.0, -0.5, 1e308, float("nan"), "", "x", None, True, [], {}, [0], [[1]])


def mutate(data: bytes, seed: int, text: bool = False) -> bytes:
    """Return changed bytes: one to three changes, each a flip, a cut, a copy, or a spliced number or word.

    Args:
        data: content of a sound file.
        seed: seed of the changes.
        text: also replace numbers in the text.
    """
    draw = random.Random(seed)
    changes: list[Callable[[bytearray, random.Random], None]] = [_flip, _number, _cut, _copy, _remove]
    if text:
        changes += [_word, _number_text, _number_text]
    content = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        if content:
            draw.choice(changes)(content, draw)
    return bytes(content)


def mutate_json(value: Any, seed: int) -> Any:
    """Return a copy of JSON values in which one or two leaves, or whole branches, are replaced or removed.

    Args:
        value: nested lists and dictionaries.
        seed: seed of the changes.
    """
    draw, changed = random.Random(seed), copy.deepcopy(value)
    for _ in range(draw.randint(1, 2)):
        places = [(parent, key) for parent, key in _places(changed)]
        if not places:
            break
        parent, key = draw.choice(places)
        if draw.random() < 0.15:
            del parent[key]
        else:
            parent[key] = copy.deepcopy(draw.choice(_VALUES))
    return changed


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def _flip(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def _number(content: bytearray, draw: random.Random) -> None:
    """Write one of the critical numbers, of 1 to 8 bytes, over what is there."""
    size, order = draw.choice((1, 2, 4, 8)), draw.choice("<>")
    form = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
    raw = struct.pack(order + form, draw.choice(NUMBERS) % 2 ** (8 * size))
    # Headers are near the beginning or the end of most formats.
    spans = (min(len(content), 512), len(content))
    start = draw.randrange(draw.choice(spans))
    if draw.random() < 0.2:
        start = max(0, len(content) - start - size)
    content[start : start + size] = raw


def _cut(content: bytearray, draw: random.Random) -> None:
    if draw.random() < 0.5:  # the other changes are more telling on a file of full length
        del content[draw.randrange(len(content)) :]


def _copy(content: bytearray, draw: random.Random) -> None:
    start, length, target = draw.randrange(len(content)), draw.choice((2, 4, 12, 64, 512)), draw.randrange(len(content))
    content[target : target + length] = content[start : start + length]


def _remove(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    del content[start : start + draw.choice((1, 2, 4, 12, 64))]


def _word(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    content[start : start + draw.choice((0, 1, 8))] = draw.choice(_TEXTS).encode()


def _number_text(content: bytearray, draw: random.Random) -> None:
    found = list(_NUMBER_TEXT.finditer(content))
    if found:
        chosen = draw.choice(found)
        content[chosen.start() : chosen.end()] = draw.choice(_TEXTS).encode()
