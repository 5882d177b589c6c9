"""Every doubt that there is, is provoked by a whole run."""

import ast
from pathlib import Path

import edgekit

ROOT = Path(edgekit.__file__).parent
RUNS = [*Path(__file__).parent.glob("test_*.py"), Path(__file__).parents[1] / "bench/test_doubts_outputs.py"]
ELSEWHERE = {"no-samples-told": "a tool of the user's own makes no run of ours: tests/bench/test_tools.py"}
"""Doubts that a run of EdgeKit's own program can't raise, and where they are provoked."""


def codes_made():
    """Return every code in the source: of doubts, and of what a probe doubts of its sensor."""
    found = set()
    for path in [*ROOT.glob("bench/**/*.py"), *ROOT.glob("probes/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Doubt":
                code = next(word.value for word in node.keywords if word.arg == "code")
                found |= {code.value} if isinstance(code, ast.Constant) else set()
            elif isinstance(node, ast.Tuple) and len(node.elts) == 4 and "probes" in path.parts:
                found |= {word for word in [getattr(node.elts[0], "value", None)] if "-" in str(word)}
    return found


def codes_provoked():
    """Return every text that a test here takes a run's doubts by, or that a table of them is keyed by."""
    found = set()
    for path in RUNS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            keys = [node.slice] if isinstance(node, ast.Subscript) else []
            keys += node.keys if isinstance(node, ast.Dict) else []
            keys += [node.left] if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In) else []
            found |= {key.value for key in keys if isinstance(key, ast.Constant)}
    return found


def test_each_doubt_is_provoked_by_a_whole_run():
    assert codes_made() - codes_provoked() - set(ELSEWHERE) == set()


def test_the_source_is_read_right():
    assert {"hot", "fallback", "shunt-default", "power-mismatch", "energy-lost", "spread"} <= codes_made()
    assert set(ELSEWHERE) <= codes_made()
