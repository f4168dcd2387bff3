"""Write the tables of docs/settings.md and docs/dirl.md: python scripts/make_settings_page.py.

A table stands between <!-- settings: FILES --> and <!-- end -->. FILES are configs, joined by " + "; of several, the
table has what the last one adds. With " > PART", it has the arguments of that part.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from pydantic.fields import FieldInfo

from hmgdm_monai.tasks.configs.components import parameters_of, target_of
from hmgdm_monai.tasks.configs.settings.annotations import argument_type
from hmgdm_monai.tasks.configs.settings.phrases import allowed
from hmgdm_monai.tasks.configs.settings.registry import full_type, part_settings, workflow_settings

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "bundle/configs"
PAGES = (ROOT / "docs/settings.md", ROOT / "docs/dirl.md")
TABLE = re.compile(r"<!-- settings: (?P<files>[^>]*?)(?: > (?P<part>\S+))? -->\n(?P<rows>.*?)<!-- end -->", re.S)
NO_PAPER = "-"
Row = tuple[str, str, str, str, str]  # name, default, values, paper, help


def main() -> None:
    """Write all tables anew."""
    for page in PAGES:
        page.write_text(with_tables(page.read_text()))


def with_tables(text: str) -> str:
    """Return a page with its tables made from descriptions and configs."""

    def replaced(found: re.Match[str]) -> str:
        files, part = found["files"].split(" + "), found["part"]
        rows = list(part_rows(files, part) if part else top_level_rows(files))
        head = found[0].partition("\n")[0]
        return f"{head}\n\n{table(rows, 'argument' if part else 'setting')}\n<!-- end -->"

    return TABLE.sub(replaced, text)


def table(rows: list[Row], kind: str) -> str:
    """Return rows as Markdown, without the column of the paper if it has nothing for any of them."""
    papers = any(row[3] != NO_PAPER for row in rows)
    head = [kind, "default", "values", *(["paper"] if papers else []), "what it does"]
    cells = [
        [f"`{name}`", default, values, *([paper] if papers else []), text]
        for name, default, values, paper, text in rows
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *cells))


def top_level_rows(files: list[str]) -> Iterator[Row]:
    """Yield a row for each described setting that the last of the configs adds to those before."""
    parser, last = read_configs(files), json.loads((CONFIGS / files[-1]).read_text())
    before = read_configs(files[:-1]).get() if files[1:] else {}
    fields = workflow_settings(parser.get()).model_fields
    for name, value in last.items():
        if name in fields and name not in before and value is not None or name in fields and not before:
            yield row(name, value, fields[name], full_type(fields[name]))


def part_rows(files: list[str], part: str) -> Iterator[Row]:
    """Yield a row for each described argument of a part, unless it refers to another setting."""
    parser = read_configs(files)
    content = parser[part]
    target = target_of(parser, content)
    if target is None:
        raise ValueError(f"{part}: there is no {content['_target_']}")
    described = part_settings(content["_target_"], f"{target.__module__}.{target.__qualname__}")
    parameters = parameters_of(parser, target, content) or {}
    for name, field in described.model_fields.items() if described else ():
        value = content.get(name, parameters[name].default if name in parameters else None)
        if name in parameters and not (isinstance(value, str) and value.startswith("@")):
            wanted = argument_type(target, parameters[name]) if field.annotation is Any else full_type(field)
            yield row(name, value, field, wanted)


def row(name: str, value: Any, field: FieldInfo, wanted: Any) -> Row:
    """Return the cells of a setting."""
    extra = field.json_schema_extra
    paper = extra["paper"] if isinstance(extra, dict) else NO_PAPER
    return name, default_text(value), allowed(wanted), str(paper), field.description or ""


def default_text(value: Any) -> str:
    """Return a default as a cell."""
    if value is inspect.Parameter.empty or isinstance(value, str) and value.startswith("$"):
        return "computed"
    if isinstance(value, str):
        return f"`{value}`"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def read_configs(files: list[str]) -> ConfigParser:
    """Return the parser of some configs; later ones override earlier ones."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in files])
    return parser


if __name__ == "__main__":
    main()
