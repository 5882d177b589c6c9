"""The core starts fast: importing EdgeKit, its help and its version load no framework."""

import subprocess
import sys

import pytest

HEAVY = (
    "PIL",
    "ai_edge_litert",
    "coremltools",
    "jinja2",
    "keras",
    "litert_quantizer",
    "numpy",
    "onnx",
    "onnxruntime",
    "paramiko",
    "plotly",
    "rich",
    "scipy",
    "sqlalchemy",
    "tensorflow",
    "torch",
)


def loaded_by(code):
    program = f"import sys\n{code}\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(
    "code",
    [
        "import edgekit",
        "import edgekit.convert, edgekit.source, edgekit.zoo",
        "import edgekit.runners.transport, edgekit.runners.runtime",
        "import edgekit.bench.plan, edgekit.bench.execute, edgekit.bench.run",
        "import edgekit.report.html, edgekit.report.table, edgekit.store",
        "import edgekit.targets; edgekit.targets.target_names()",
        "import edgekit.cli.main as m; m.build_parser().format_help()",
        "import edgekit.cli.main as m\ntry: m.main(['--version'])\nexcept SystemExit: pass",
    ],
)
def test_no_framework_is_loaded(code):
    assert loaded_by(code) == []
