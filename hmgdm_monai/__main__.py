"""Commands: ``python -m hmgdm_monai COMMAND``. Each imports what it needs when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from hmgdm_monai.errors import one_line_errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments: the command and its arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m hmgdm_monai", description="H-MGDM for MONAI")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_compare(commands)
    given = parser.parse_args(arguments)
    given.run(given)


def _add_compare(commands: Any) -> None:
    what = "compare two cross-validations on the same folds and patients"
    command = commands.add_parser("compare", help=what, description=f"{what.capitalize()}: docs/scores.md.")
    command.add_argument("first", metavar="RUN_A", help="output folder of a run")
    command.add_argument("second", metavar="RUN_B", help="output folder of another run, or of the same one")
    command.add_argument(
        "--models", nargs=2, metavar=("A", "B"), default=(None, None), help="models by name; default: the run's own"
    )
    command.add_argument("--output", metavar="JSON", help="file for the result")
    command.add_argument("--num_bootstrap", type=int, default=500, help="number of resamples of the patients")
    command.add_argument("--seed", type=int, default=0, help="seed of the resamples")
    command.add_argument("--confidence", type=float, default=0.95, help="level of the intervals")
    command.set_defaults(run=_compare)


def _compare(given: argparse.Namespace) -> None:
    from hmgdm_monai.tasks.compare import compare_runs, comparison_table

    first_model, second_model = given.models
    result = compare_runs(
        given.first,
        given.second,
        first_model,
        second_model,
        num_bootstrap=given.num_bootstrap,
        seed=given.seed,
        confidence=given.confidence,
        output=given.output,
    )
    print("\n".join(comparison_table(result)))


if __name__ == "__main__":
    one_line_errors()
    main()
