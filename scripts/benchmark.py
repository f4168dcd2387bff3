"""Measure what the project claims: python scripts/benchmark.py [part] ...

Results are ratios of alternating measurements in one run, because absolute times on a shared machine vary. Without a
part, the quick parts run: all except maps and quality, which take minutes, and representation, dirl and patients, which
train for hours.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hmgdm_monai.errors import InputError

QUICK = ("graph", "reading", "prior", "entities", "training", "dense", "weights")
PARTS = (*QUICK, "maps", "quality", "representation", "dirl", "patients")
SEEDS = (0, 1, 2)


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and measure; return 2 on bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    only = parser.add_argument_group("quality, representation, dirl, patients")
    only.add_argument(
        "--output", type=Path, default=Path("runs/benchmark"), help="output folder; the same folder resumes"
    )
    only.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        help="seeds of training or of demo slides (default: 0 1 2; patients: five for the biopsies)",
    )
    only.add_argument("--max-tiles", type=int, help="labeled and unlabeled tiles per biopsy; for a trial run")
    only.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="setting of the training config; may be repeated",
    )
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    try:
        for part in given.parts or QUICK:
            print(f"== {part}", flush=True)
            run_part(part, given)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


def run_part(part: str, given: argparse.Namespace) -> None:
    """Run one part; each part imports only what it needs."""
    if part == "graph":
        from benchmark_parts import graph_building

        graph_building.main()
    elif part == "reading":
        from benchmark_parts import reading

        reading.main()
    elif part == "prior":
        from benchmark_parts import cell_prior

        cell_prior.main()
    elif part == "entities":
        from benchmark_parts import entities

        entities.main()
    elif part == "training":
        from benchmark_parts import training

        training.main()
    elif part == "dense":
        from benchmark_parts import dense_cost

        dense_cost.main()
    elif part == "weights":
        from benchmark_parts import weights

        weights.main()
    elif part == "quality":
        from benchmark_parts import quality

        quality.main(given.output, given.seeds or SEEDS)
    elif part == "patients":
        from benchmark_parts import patients

        patients.main(given.output, given.seeds, given.max_tiles, given.set)
    elif part == "maps":
        from benchmark_parts import entity_map_auc

        entity_map_auc.main()
    elif part == "dirl":
        from benchmark_parts import dirl

        dirl.main(given.output, given.seeds or SEEDS, given.max_tiles, given.set)
    else:
        from benchmark_parts import representation

        representation.main(given.output, given.seeds or SEEDS, given.max_tiles, given.set)


if __name__ == "__main__":
    sys.exit(main())
