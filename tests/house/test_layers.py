"""The one-way dependencies of the house, read from the code itself."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = {
    "edgekit": ROOT / "edgekit",
    "edgekit.runners": ROOT / "runners",
    "edgekit.targets": ROOT / "targets",
}

# What a part may import of ours, itself apart. Everything may import the version.
GROUND = {"errors", "units", "plugins", "json_types"}
DATA = GROUND | {"recipe", "artifact", "bundle"}
ABOVE_TARGETS = DATA | {"targets"}
MAKERS = {"zoo", "source", "convert"}
BENCH = ABOVE_TARGETS | {"runners", "probes", "bench"}
REPORTS = BENCH | {"store", "report"}
MAY_IMPORT = {
    "errors": set(),
    "units": set(),
    "plugins": set(),
    "json_types": set(),
    "recipe": DATA,
    "artifact": DATA,
    "bundle": DATA,
    "targets": DATA,
    "zoo": ABOVE_TARGETS,
    "source": ABOVE_TARGETS | MAKERS,
    "convert": ABOVE_TARGETS | MAKERS,
    "runners": ABOVE_TARGETS,
    "probes": ABOVE_TARGETS | {"runners"},
    "bench": BENCH,
    "store": BENCH,
    "report": REPORTS,
    "cli": REPORTS | MAKERS,
    "testing": REPORTS | MAKERS,
    "": DATA,
}


def our_files():
    for package, folder in PLACES.items():
        for path in sorted(folder.rglob("*.py")):
            if path.is_relative_to(ROOT / "runners" / "on_device") and path.name != "__init__.py":
                continue
            yield package, folder, path


def part_of(module):
    """'edgekit.bench.stats' -> 'bench'; 'edgekit' -> ''."""
    return module.split(".")[1] if module.count(".") else ""


def imports_of(path):
    """All imports, those inside functions and for type checking included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "edgekit":
                yield from (f"edgekit.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize(
    ("package", "folder", "path"), [pytest.param(*f, id=str(f[2].relative_to(ROOT))) for f in our_files()]
)
def test_a_file_imports_only_what_lies_below_it(package, folder, path):
    module = ".".join([package, *path.relative_to(folder).with_suffix("").parts])
    module = module.removesuffix(".__init__")
    part = part_of(module)
    assert part in MAY_IMPORT or part == "_version", f"{part} has no place in the house"
    allowed = MAY_IMPORT.get(part, set()) | {part, "_version"}
    for imported in imports_of(path):
        if imported.split(".")[0] != "edgekit" or imported == "edgekit.__version__":
            continue
        assert part_of(imported) in allowed, f"{path} imports {imported}"


def test_convert_and_bench_never_meet():
    assert "bench" not in MAY_IMPORT["convert"]
    assert not MAKERS & MAY_IMPORT["bench"]


def test_what_runs_on_a_device_imports_nothing_of_ours():
    files = [p for p in (ROOT / "runners" / "on_device").rglob("*.py") if p.name != "__init__.py"]
    assert files
    for path in files:
        assert not [name for name in imports_of(path) if name.split(".")[0] == "edgekit"], path


def test_nobody_outside_imports_the_folders_by_their_bare_names():
    for _, _, path in our_files():
        bare = [n for n in imports_of(path) if n.split(".")[0] in {"runners", "targets"}]
        assert not bare, f"{path} imports {bare}: write edgekit.{bare[0]}"
