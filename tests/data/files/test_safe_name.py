"""Names from data as names of files; and that nothing in the project takes another way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmgdm_monai.data.files.safe_name import LONGEST, name_of, safe_name

ROOT = Path(__file__).parents[3]
HOSTILE = (
    "Gleason 3/4",
    "../escaped",
    "a/../../../../escaped",
    "/etc/passwd",
    "..",
    ".",
    "",
    ".hidden",
    "trailing. ",
    "back\\slash",
    "nul\0",
    "line\nfeed",
    "%2E%2E%2Fescaped",
    "~",
    "a~0123456789abcdef",
    "C:",
    "Müller",
    "Mu\u0308ller",
    "肿瘤 / 正常",
    "\ud800",
    "x" * 400,
    "ü" * 400,
    "." * 400,
    "/" * 51,
)
texts = st.text(alphabet=st.characters(), max_size=300)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_becomes_one_file_in_its_folder(name, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / f"{safe_name(name)}.txt").write_text("x")
    assert [path.parent for path in tmp_path.rglob("*.txt")] == [folder]
    assert not any(path.name.startswith(".") for path in folder.iterdir())


@given(texts)
def test_one_short_plain_component_that_gives_the_name_back(name):
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_%~ .-]+", safe)
    assert safe[0] not in ". " and safe[-1] not in ". "
    assert len(safe.encode()) <= LONGEST
    assert name_of(safe) in (name, None)
    if len(name.encode("utf-8", "surrogatepass")) <= LONGEST // 3:
        assert name_of(safe) == name


@given(texts, texts)
def test_two_names_are_two_files(one, other):
    assert (safe_name(one) == safe_name(other)) == (one == other)


def test_a_name_that_is_spelled_like_another_s_file_is_another_file():
    for name in HOSTILE:
        assert safe_name(safe_name(name)) != safe_name(name)
    assert len({safe_name(name) for name in HOSTILE}) == len(HOSTILE)


def test_ordinary_names_stay_as_they_are():
    for name in ("patient_00", "TCGA-AA-0001.svs", "high grade", "probability_low_grade"):
        assert safe_name(name) == name


def test_a_name_that_is_too_long_keeps_its_end_and_whole_characters():
    names = ["".join("ü" if number == at else "x" for number in range(200)) for at in range(60, 80)]
    for name in names:
        assert re.fullmatch(r"(x|%C3|%BC|%BC)*x~[0-9a-f]{16}", safe_name(name)), safe_name(name)
    assert len(set(map(safe_name, names))) == len(names)


# Names in file names that are no data: numbers, digests, and words of our own.
PLAIN = {
    "hmgdm_monai/data/demo/cohort.py": {"plan.name", "number", "place.label"},
    "hmgdm_monai/data/stores/ragged_unit.py": {"settings_key(settings)"},
    "hmgdm_monai/data/files/whole_file.py": {"path.name", "uuid.uuid4().hex[:12]", "_SUFFIX"},
    "hmgdm_monai/tasks/tiles/cross_validation.py": {"fold.number"},
    "hmgdm_monai/tasks/pretraining/graph_report.py": {"name"},
    "hmgdm_monai/tasks/patients/cross_validation.py": {"fold.number", "key[:12]"},
    "hmgdm_monai/handlers/stage_checkpoint.py": {"self.path.stem"},
    "hmgdm_monai/handlers/tracking_database.py": {"temporary.name", "path.name", "number", "target"},
    "scripts/export_model.py": {"kind"},
    "scripts/monailabel_app/lib/bundle_model.py": {"self._digest[1][:12]"},
    "scripts/package_bundle.py": {"name", "metadata['version']"},
    "scripts/reproduce_parts/entity_latents.py": {"key"},
    "scripts/fuzz_parts/readers.py": {"number"},
    "scripts/fuzz_parts/trials.py": {"source.name"},
    "scripts/common/kept.py": {"digest[:24]", "os.getpid()"},
    "scripts/reproduce_parts/training.py": {"work.method.stage"},
    "scripts/reproduce_parts/work.py": {"self.seed"},
}
DATA = {"id", "label", "patient", "row_id", "class_name", "tag", "classes"}  # attributes that hold names from data


def _files():
    for folder in ("hmgdm_monai", "scripts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if "benchmark" not in name:
                yield name, ast.parse(path.read_text())


def _path_parts(tree: ast.AST):
    """Expressions that become a part of a path: right of a slash, or an argument of what joins and renames."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            yield node.right
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            joins = ast.unparse(node.func) == "os.path.join"
            if joins or called in ("with_name", "with_stem", "with_suffix", "joinpath", "Path"):
                yield from node.args


def _unsafe(part: ast.AST):
    """All of an expression that is not given to safe_name."""
    if not (isinstance(part, ast.Call) and ast.unparse(part.func) == "safe_name"):
        yield part
        for child in ast.iter_child_nodes(part):
            yield from _unsafe(child)


def _inserted(part: ast.AST, texts: dict[str, ast.JoinedStr]) -> list[str]:
    """What is put into the f-strings of an expression, also by way of a variable."""
    nodes = list(_unsafe(part))
    nodes += [
        inner for node in nodes if isinstance(node, ast.Name) and node.id in texts for inner in _unsafe(texts[node.id])
    ]
    values = [ast.unparse(node.value) for node in nodes if isinstance(node, ast.FormattedValue)]
    return [value for value in values if not value.startswith("safe_name(")]


def _strings(tree: ast.AST) -> dict[str, ast.JoinedStr]:
    """Variables that are f-strings."""
    assigned = [
        node for node in ast.walk(tree) if isinstance(node, ast.Assign) and isinstance(node.value, ast.JoinedStr)
    ]
    return {target.id: node.value for node in assigned for target in node.targets if isinstance(target, ast.Name)}


def test_no_name_from_data_becomes_a_path_in_another_way():
    faults = []
    for name, tree in _files():
        texts = _strings(tree)
        for part in _path_parts(tree):
            faults += [f"{name}: {text}" for text in _inserted(part, texts) if text not in PLAIN.get(name, set())]
            if isinstance(part, ast.Attribute) and part.attr in DATA:
                faults.append(f"{name}: {ast.unparse(part)}")
    assert not faults, "names that become files go through safe_name"


def test_no_other_function_makes_names_of_files():
    own = "hmgdm_monai/data/files/safe_name.py"
    pattern = re.compile(
        r"urllib\.parse(\.| import .*)(un)?quote|slugify|secure_filename|\.replace\(\"/\"|\.replace\('/'|\.translate\("
    )
    found = [name for name, tree in _files() if name != own and pattern.search((ROOT / name).read_text())]
    assert not found
