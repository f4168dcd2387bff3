"""Compute the table of methods again: python scripts/reproduce.py --data glas --jobs 2

This trains each method on the same tiles, embeds the labeled tiles, and scores probes and fine-tuning in folds grouped
by biopsy or patient. See docs/reproduce.md. The same command resumes an interrupted run.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from reproduce_parts.cohorts import DATA_SETS, read_cohort
from reproduce_parts.methods import ABLATION_ROWS, DEFAULT_METHODS, METHODS, chosen_methods
from reproduce_parts.run import FINETUNED_METHODS, Plan, reproduce

from hmgdm_monai.errors import InputError

SMALLEST = ["--data", "demo", "--methods", "hmgdm", "untrained_graph", "backbone_entities", "color", "--seeds", "0"]
SMALLEST += ["--epochs", "1", "--max-tiles", "3", "--fold-draws", "1", "--no-robustness", "--finetune-epochs", "1"]
NO_END = 100_000  # number of epochs if a time budget ends training


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and run; return 2 on bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--smallest" in arguments:  # other arguments override it
        arguments = [*SMALLEST, *(argument for argument in arguments if argument != "--smallest")]
    given = _parser().parse_args(arguments)
    chosen = [each for name in given.methods for each in (ABLATION_ROWS if name == "ablations" else (name,))]
    given.methods = list(dict.fromkeys(chosen))
    try:
        chosen_methods([*given.methods, *given.finetune, given.reference])
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
    for name in ("jobs", "fold_draws"):
        _at_least(name, getattr(given, name), 1)
    _at_least("finetune_epochs", given.finetune_epochs, 0)
    if not all(0 < share <= 1 for share in given.finetune_share):
        raise InputError(f"--finetune-share {' '.join(map(str, given.finetune_share))}: must be above 0 and at most 1")
    settings = [
        *given.set,
        f"probe_interval={NO_END}",
    ]  # no linear probe: training and its time do not depend on labels
    budget = "epochs as configured, plus encoding of graphs"
    if given.budget_cpu_min is not None:
        if given.budget_cpu_min <= 0:
            raise InputError(f"--budget-cpu-min {given.budget_cpu_min:g}: must be above 0")
        settings.append(f"max_epochs={NO_END}")
        settings.append(
            f"graphs:early_stop::patience={NO_END}"
        )  # early stopping would end some methods before the budget
        budget = f"{given.budget_cpu_min:g} CPU minutes per run, including encoding of graphs and validation"
    elif given.epochs is not None:
        _at_least("epochs", given.epochs, 1)
        settings.append(f"max_epochs={given.epochs}")
        budget = f"at most {given.epochs} epochs, plus encoding of graphs"
    return Plan(
        methods=given.methods,
        seeds=given.seeds,
        fold_draws=given.fold_draws,
        references=list(dict.fromkeys((given.reference, "hmgdm"))),
        stains=given.stains,
        settings=settings,
        budget_cpu_min=given.budget_cpu_min,
        budget=budget,
        command=shlex.join(["python", "scripts/reproduce.py", *arguments]),
        robustness=given.robustness,
        jobs=given.jobs,
        finetune=given.finetune,
        finetune_epochs=given.finetune_epochs,
        finetune_shares=given.finetune_share,
    )


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"--{name.replace('_', '-')} {value}: must be at least {least}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="glas", help=f"{', '.join(DATA_SETS)}, or a manifest with labels (glas)")
    choices = f"{', '.join(METHODS)}; or ablations: H-MGDM with one change at a time"
    parser.add_argument("--methods", nargs="+", default=list(DEFAULT_METHODS), metavar="NAME", help=choices)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds of training (0 to 4)")
    parser.add_argument("--fold-draws", type=int, default=5, help="number of draws of the folds per seed (5)")
    against = "method that each method is compared with, in addition to hmgdm (backbone_entities)"
    parser.add_argument("--reference", default="backbone_entities", metavar="NAME", help=against)
    parser.add_argument("--stains", nargs="+", default=["plain"], choices=["plain", "macenko"])
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, help="epochs of each training (default: as configured)")
    budget.add_argument("--budget-cpu-min", type=float, help="CPU minutes of each training, in place of epochs")
    parser.add_argument("--max-tiles", type=int, help="tiles per biopsy or patient; for a trial run")
    parser.add_argument("--negative", nargs="+", metavar="CLASS", help="classes that are not cancer, for the AUC")
    corrupted = "also score corrupted tiles"
    parser.add_argument("--robustness", action=argparse.BooleanOptionalAction, default=True, help=corrupted)
    tuned = "graph methods to fine-tune with labels, if they are among the methods"
    parser.add_argument("--finetune", nargs="+", default=list(FINETUNED_METHODS), metavar="NAME", help=tuned)
    parser.add_argument("--finetune-epochs", type=int, default=15, help="epochs of fine-tuning; 0 for none (15)")
    shares = "fractions of the labeled groups for fine-tuning (0.1 1.0)"
    parser.add_argument("--finetune-share", type=float, nargs="+", default=[0.1, 1.0], metavar="SHARE", help=shares)
    parser.add_argument("--jobs", type=int, default=1, help="number of parallel tasks, each on one core (1)")
    parser.add_argument("--output", type=Path, help="output folder; the same folder resumes (runs/reproduce/<data>)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="setting of the bundle for all methods; for one family: images:NAME=VALUE or graphs:NAME=VALUE; may be "
        "repeated",
    )
    parser.add_argument("--smallest", action="store_true", help="demo cohort, one seed, few methods, one epoch")
    return parser


if __name__ == "__main__":
    sys.exit(main())
