"""The budgets: small files, small functions, everything annotated, everything public explained."""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for d in ("edgekit", "runners", "targets") for p in (ROOT / d).rglob("*.py"))
# Contract suites and doubles are tests that other packages can run too.
PUBLIC_TESTS = {p for p in SOURCES if p.is_relative_to(ROOT / "edgekit" / "testing")}
TESTS = sorted({*(ROOT / "tests").rglob("*.py"), *PUBLIC_TESTS})
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
FUNCTIONS = [
    (path, node)
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def length(function):
    """Lines of a function without its docstring."""
    first = function.body[0]
    doc = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - doc


def test_files_are_small():
    sizes = {path: lines_of(path) for path in SOURCES if lines_of(path) > 3}
    assert statistics.median(sizes.values()) <= 180
    assert not {str(p): n for p, n in sizes.items() if n > 500}


def test_functions_are_small():
    lengths = sorted(length(node) for _, node in FUNCTIONS)
    assert statistics.median(lengths) <= 10
    assert lengths[int(len(lengths) * 0.9)] <= 35
    long = [f"{p.relative_to(ROOT)}:{n.name} {length(n)}" for p, n in FUNCTIONS if length(n) > 70]
    assert not long


def test_every_function_is_annotated():
    bare = []
    for path, node in FUNCTIONS:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [a for a in (node.args.vararg, node.args.kwarg) if a is not None]
        missing = [a.arg for a in arguments if a.annotation is None and a.arg not in {"self", "cls"}]
        if missing or (node.returns is None and node.name != "__init__"):
            bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {missing}")
    assert not bare


def public(body):
    """The public classes and functions of a module or class, and those of its public classes."""
    for node in body:
        named = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if named and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def test_everything_public_has_a_docstring():
    silent = [str(p) for p, tree in TREES.items() if tree.body and ast.get_docstring(tree) is None]
    for path, tree in TREES.items():
        for node in public(tree.body):
            inherited = any(
                getattr(d, "id", getattr(d, "attr", "")) == "override" for d in node.decorator_list
            )
            if ast.get_docstring(node) is None and not inherited:
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not silent


def passes_on(handler):
    """Whether a handler cleans up and raises what it caught again."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_broad_excepts_stand_only_where_the_design_allows():
    allowed = {ROOT / "edgekit/cli/main.py"}
    found = []
    for path, tree in TREES.items():
        if path in allowed or path.is_relative_to(ROOT / "runners/on_device"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and not passes_on(node):
                names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {""}
                if names & {"", "Exception", "BaseException"}:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found


def test_tests_keep_pace_with_the_source():
    ratio = sum(map(lines_of, TESTS)) / sum(lines_of(p) for p in SOURCES if p not in PUBLIC_TESTS)
    assert 1.0 <= ratio <= 1.6, f"{ratio:.2f} test lines a source line"


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX", "raise NotImplementedError"])
def test_nothing_is_left_open(word):
    assert not [str(p) for p in SOURCES if p not in PUBLIC_TESTS and word in p.read_text(encoding="utf-8")]
