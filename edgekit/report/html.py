"""The HTML report: one file that asks nothing of the network, the same bytes for the same runs.

What came from a device is text, never markup: jinja2 escapes all of it, the plots' data are JSON without a
"<", and the page's own policy lets nothing run but the two scripts whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Any

from edgekit._version import __version__
from edgekit.bench.explain.table import HEADS, NUMBERS
from edgekit.bench.summary import VERDICTS
from edgekit.bundle import write_atomic
from edgekit.errors import MissingExtraError, UsageError
from edgekit.report import curve, plots, record
from edgekit.report.cells import NOT_HARDWARE, banner, clean, groups_of, rows_of
from edgekit.report.why import whys_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgekit.bench.run import Run
    from edgekit.bench.summary import Summary
    from edgekit.report.cells import Group

_SCRIPT = "page.js"
_TEMPLATE = "report.html.j2"


def write_html(pairs: Sequence[tuple[Run, Summary]], path: Path, *, title: str | None = None) -> None:
    """Write runs as one self-contained HTML file, whole or not at all.

    Args:
        pairs: runs and the summaries made from them, in the order to be shown.
        path: the file; one that is there is replaced.
        title: the page's title.

    Raises:
        UsageError: there are no runs, a summary belongs to another run, or the file can't be written.
        MissingExtraError: jinja2 or plotly is not installed.
    """
    content = render(pairs, title=title).encode()
    try:
        write_atomic(path, content)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"{path} can't be written ({reason})", hint="name a file in a folder that exists"
        ) from None


def render(pairs: Sequence[tuple[Run, Summary]], *, title: str | None = None) -> str:
    """Return the page as text; see `write_html`."""
    rows, notes = rows_of(pairs)
    environment, markup = _jinja()
    groups = groups_of(rows)
    scripts = {"plotly": _plotly(), "page": _resource(_SCRIPT)}
    figures = {"latency": plots.latency_figure(pairs), "memory": plots.memory_figure(pairs)}
    figures["sustained"] = curve.sustained_figure(pairs)
    page = environment.from_string(_resource(_TEMPLATE)).render(
        title=clean(title or _title(rows[0].source, {row.source for row in rows})),
        version=__version__,
        period=record.period_of(run for run, _ in pairs),
        counts=_counts(pairs),
        rows=rows,
        notes=notes,
        groups=[(group, banner(group.labels)) for group in groups],
        with_power=not all(group.power for group in groups),
        powers=_powers(groups),
        soft=_soft(groups),
        figures={name: markup(json_text(figure)) for name, figure in figures.items() if figure},
        span=f"{figures['latency']['span']:.0%}" if figures["latency"] else "",
        condition_names=record.CONDITIONS,
        conditions=[record.conditions_of(run) for run, _ in pairs],
        whys=whys_of([run for run, _ in pairs]),
        why_heads=HEADS,
        why_numbers=NUMBERS,
        provenance=[record.provenance_of(run) for run, _ in pairs],
        scripts={name: markup(text) for name, text in scripts.items()},
        hashes=[script_hash(text) for text in scripts.values()],
    )
    return str(page)


def json_text(value: object) -> str:
    """Return JSON that can stand in a script element: no "<", ">" or "&" is in it, and no NaN."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def script_hash(text: str) -> str:
    """Return a script's hash as a content security policy writes it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _title(source: str, sources: set[str]) -> str:
    return f"Bench of {source}" if source and len(sources) == 1 else "Bench report"


def _counts(pairs: Sequence[tuple[Run, Summary]]) -> list[tuple[str, int]]:
    found = Counter(summary.verdict for _, summary in pairs)
    return [(verdict, found[verdict]) for verdict in VERDICTS if found[verdict]]


def _soft(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Return (device, warning) of the devices whose numbers are no hardware's."""
    warnings = [(group.device, banner(group.labels)) for group in groups]
    return [(device, text) for device, text in warnings if text.endswith(NOT_HARDWARE)]


def _powers(groups: Sequence[Group]) -> list[tuple[str, list[str]]]:
    """Return each reason why power is missing with its devices."""
    reasons = dict.fromkeys(group.power for group in groups)
    return [(reason, [g.device for g in groups if g.power == reason]) for reason in reasons]


def _resource(name: str) -> str:
    return resources.files("edgekit.report").joinpath(name).read_text(encoding="utf-8")


def _jinja() -> tuple[Any, Any]:
    try:
        import jinja2
        import markupsafe
    except ImportError:
        raise MissingExtraError("jinja2", "report") from None
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment, markupsafe.Markup


def _plotly() -> str:
    """Return plotly.js; a browser hashes it with its line ends folded, so they are folded here."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtraError("plotly", "report") from None
    text = str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
