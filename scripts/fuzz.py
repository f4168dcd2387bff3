"""Read damaged files with each reader: python scripts/fuzz.py [reader] ... --seconds 60.

Each file is a sound one with flipped bits, cuts, copies or critical numbers, by its seed. It is read in a child process
with limits on memory and time. It may be read, or refused in one line; all else is a fault, which is printed with its
seed. Exit status 1 if there are faults. --seed N --files 1 repeats one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and fuzz."""
    from fuzz_parts.readers import READERS
    from fuzz_parts.trials import fuzz

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="reader", help=", ".join(READERS))
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each reader (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first file (default: %(default)s)")
    parser.add_argument("--files", type=int, help="number of files for each reader, whatever time they take")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.readers if name not in READERS]:
        parser.error(f"no reader {', '.join(unknown)}; choose from {', '.join(READERS)}")
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in given.readers or READERS:
            found = fuzz(name, Path(folder), given.seed, given.files, given.seconds)
            faults += len(found.faults)
            print(f"{name}: {found.read} read, {found.refused} refused, {len(found.faults)} faults", flush=True)
            for said, places in found.kinds().items():
                print(f"-- {', '.join(places[:5])}, {len(places)} in all:\n{said}", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
