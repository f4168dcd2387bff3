"""Makes the table of methods anew: python scripts/reproduce.py --data prostate --budget-cpu-min 10

Trains each method on the same tiles for the same budget, embeds the labelled ones, and scores a linear probe and
nearest neighbours in folds grouped by biopsy or patient. See docs/reproduce.md. The same command resumes.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from reproduce_parts.cohorts import read_cohort
from reproduce_parts.methods import ABLATIONS, DEFAULT_METHODS, METHODS, chosen_methods
from reproduce_parts.run import Plan, reproduce

from hmgdm_monai.errors import InputError

SMALLEST = ["--data", "demo", "--methods", "mae", "colour", "--seeds", "0", "--epochs", "1", "--stains", "plain"]
SMALLEST += ["--max-tiles", "3", "--no-robustness"]
NO_END = 100_000  # epochs, where a budget ends training
EPOCHS = 20


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line and runs; returns 2 on bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--smallest" in arguments:  # what else is given wins
        arguments = [*SMALLEST, *(argument for argument in arguments if argument != "--smallest")]
    given = _parser().parse_args(arguments)
    chosen = [each for name in given.methods for each in (["hmgdm", *ABLATIONS] if name == "ablations" else [name])]
    given.methods = list(dict.fromkeys(chosen))
    try:
        chosen_methods([*given.methods, *given.finetune])
        plan = _plan(given, arguments)
        cohort = read_cohort(given.data, given.max_tiles, given.negative)
        output = given.output or Path("runs/reproduce") / cohort.name
        reproduce(cohort, output, plan)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    print((output / "table.md").read_text())
    print(f"results: {output / 'results.json'}, {output / 'table.md'}")
    return 0


def _plan(given: argparse.Namespace, arguments: list[str]) -> Plan:
    if given.jobs < 1:
        raise InputError(f"--jobs {given.jobs}: must be at least 1")
    settings = [*given.set, f"probe_interval={NO_END}"]  # labels have no part in training, nor in its time
    if given.budget_cpu_min is not None:
        if given.budget_cpu_min <= 0:
            raise InputError(f"--budget-cpu-min {given.budget_cpu_min:g}: must be above 0")
        settings += [f"max_epochs={NO_END}", f"budget_cpu_min={given.budget_cpu_min:g}"]
        settings.append(f"graphs:early_stop::patience={NO_END}")  # else it would end some methods before the budget
        budget = f"{given.budget_cpu_min:g} CPU minutes a run, encoding of graphs and validation included"
    else:
        epochs = EPOCHS if given.epochs is None else given.epochs
        if epochs < 1:
            raise InputError(f"--epochs {epochs}: must be at least 1")
        settings.append(f"max_epochs={epochs}")
        budget = f"{epochs} epochs at most; stage 1 of graphs on top"
    if given.finetune_epochs < 0:
        raise InputError(f"--finetune-epochs {given.finetune_epochs}: must not be negative")
    encoders = [name for name in given.finetune or given.methods if METHODS[name].family != "features"]
    finetune = {name: given.finetune_epochs for name in encoders if given.finetune_epochs}
    command = shlex.join(["python", "scripts/reproduce.py", *arguments])
    return Plan(
        given.methods, given.seeds, given.stains, settings, budget, command, given.robustness, given.jobs, finetune
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="prostate", help="prostate, glas, demo, or a manifest with labels")
    told = f"{', '.join(METHODS)}; or ablations, for H-MGDM with one thing changed at a time"
    parser.add_argument("--methods", nargs="+", default=list(DEFAULT_METHODS), metavar="NAME", help=told)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training and folds (0 1 2)")
    parser.add_argument("--stains", nargs="+", default=["plain", "macenko"], choices=["plain", "macenko"])
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, help=f"of each training (default: {EPOCHS})")
    budget.add_argument("--budget-cpu-min", type=float, help="minutes of CPU time of each training, instead")
    parser.add_argument("--max-tiles", type=int, help="of each biopsy or patient; for a trial run")
    parser.add_argument("--negative", nargs="+", metavar="CLASS", help="classes that are not cancer, for the AUC")
    spoilt = "score spoilt tiles, too; or leave them out"
    parser.add_argument("--robustness", action=argparse.BooleanOptionalAction, default=True, help=spoilt)
    parser.add_argument("--finetune-epochs", type=int, default=0, help="train encoders on with labels, so long (0)")
    tuned = "only these; without, all that are networks"
    parser.add_argument("--finetune", nargs="+", default=[], metavar="NAME", help=tuned)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, each on one core (1)")
    parser.add_argument("--output", type=Path, help="folder; the same one resumes (runs/reproduce/<data>)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the bundle, for all or, as images:NAME=VALUE or graphs:NAME=VALUE, for a family; repeatable",
    )
    parser.add_argument("--smallest", action="store_true", help="one seed, two methods, few tiles, one epoch")
    return parser


if __name__ == "__main__":
    sys.exit(main())
