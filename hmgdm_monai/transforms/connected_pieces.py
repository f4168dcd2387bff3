"""Enforce connectivity of superpixels: find connected pieces and merge small ones into a neighbor (numba)."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _root(parent, i):
    """Root of a piece; halves the path on the way (union-find)."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _unite(parent, i, j):
    i, j = _root(parent, i), _root(parent, j)
    if i < j:
        parent[j] = i
    elif j < i:
        parent[i] = j


@njit(cache=True, nogil=True)
def _names(parent):
    """Number the roots 0, 1, ... in order; return the number of each piece's root and the number of roots."""
    names = np.empty(len(parent), np.int32)
    count = 0
    for i in range(len(parent)):
        root = _root(parent, i)
        if root == i:
            names[i] = count
            count += 1
        else:
            names[i] = names[root]  # the root is the first of its pieces
    return names, count


@njit(cache=True, nogil=True)
def pieces_of(labels):
    """4-connected pieces of equal label: (H, W) int32 numbered by first pixel, and the size of each piece in px."""
    height, width = labels.shape
    pieces = np.empty((height, width), np.int32)
    parent = np.empty(height * width, np.int32)
    n = 0
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            as_left = x > 0 and labels[y, x - 1] == label
            as_above = y > 0 and labels[y - 1, x] == label
            if as_left:
                piece = pieces[y, x - 1]
                # Above and left are already one piece if the pixel between them has the same label.
                if as_above and labels[y - 1, x - 1] != label:
                    _unite(parent, piece, pieces[y - 1, x])
            elif as_above:
                piece = pieces[y - 1, x]
            else:
                piece = np.int32(n)
                parent[n] = n
                n += 1
            pieces[y, x] = piece
    names, count = _names(parent[:n])
    sizes = np.zeros(count, np.int64)
    for y in range(height):
        for x in range(width):
            name = names[pieces[y, x]]
            pieces[y, x] = name
            sizes[name] += 1
    return pieces, sizes


@njit(cache=True, nogil=True)
def connect(planes, labels, min_size):
    """Make every label one 4-connected piece of at least ``min_size`` px (or the whole tile), 0 to V - 1.

    Small pieces are merged into a neighbor, smallest first, each into the neighbor with the nearest mean color.
    """
    height, width = labels.shape
    pieces, sizes = pieces_of(labels)
    n = len(sizes)
    small = sizes < min_size
    # The border of each small piece is a linked list of the adjacent pixels' pieces, one entry per adjacent pixel;
    # when pieces are merged, their lists are joined.
    room = 4 * sizes[small].sum()
    touching, following = np.empty(room, np.int32), np.empty(room, np.int32)
    head, tail = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    used = 0
    for y in range(height):
        for x in range(width):
            for down in range(2):
                if (y + 1 if down else x + 1) >= (height if down else width):
                    continue
                a, b = pieces[y, x], pieces[y + 1, x] if down else pieces[y, x + 1]
                if a == b:
                    continue
                for one, other in ((a, b), (b, a)):
                    if small[one]:
                        touching[used], following[used] = other, head[one]
                        if head[one] < 0:
                            tail[one] = used
                        head[one] = used
                        used += 1

    color_sums = np.zeros((n, 3), np.float32)
    for y in range(height):
        for x in range(width):
            total = color_sums[pieces[y, x]]
            for c in range(3):
                total[c] += planes[c, y, x]

    parent = np.arange(n).astype(np.int32)
    for i in np.argsort(sizes, kind="mergesort"):
        if not small[i]:
            break
        root = _root(parent, i)
        if sizes[root] >= min_size:
            continue
        best, least = np.int32(-1), np.float32(np.inf)
        own = color_sums[root] / np.float32(sizes[root])
        entry = head[root]
        while entry >= 0:
            other = _root(parent, touching[entry])
            if other != root and other != best:
                distance = np.float32(0.0)
                for c in range(3):
                    distance += (own[c] - color_sums[other, c] / np.float32(sizes[other])) ** 2
                if distance < least:
                    best, least = other, distance
            entry = following[entry]
        if best < 0:  # the piece is the whole tile
            continue
        winner, loser = min(root, best), max(root, best)
        parent[loser] = winner
        sizes[winner] += sizes[loser]
        for c in range(3):
            color_sums[winner, c] += color_sums[loser, c]
        if head[winner] < 0:
            head[winner], tail[winner] = head[loser], tail[loser]
        elif head[loser] >= 0:
            following[tail[winner]] = head[loser]
            tail[winner] = tail[loser]
    names, _ = _names(parent)
    for y in range(height):
        for x in range(width):
            pieces[y, x] = names[pieces[y, x]]
    return pieces
