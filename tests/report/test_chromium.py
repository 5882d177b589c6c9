"""The page in a real browser: both plots are drawn, nothing is complained of, nothing hostile runs."""

import re
import shutil
import subprocess

import pytest

from edgekit.report.html import write_html

pytest.importorskip("jinja2")
pytest.importorskip("plotly")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this host")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--virtual-time-budget=20000", "--enable-logging=stderr", "--v=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """A call that writes pairs as a page, loads it, and returns the DOM and the console's lines."""

    def call(pairs, *options, extra=""):
        home = tmp_path_factory.mktemp("chromium")
        path = home / "report.html"
        write_html(pairs, path)
        if extra:
            path.write_text(
                path.read_text(encoding="utf-8").replace("<main>", extra + "<main>"), encoding="utf-8"
            )
        argv = [
            BROWSER,
            *OPTIONS,
            *options,
            f"--user-data-dir={home / 'profile'}",
            "--dump-dom",
            path.as_uri(),
        ]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=120, check=False, encoding="utf-8"
        )
        assert done.returncode == 0, done.stderr[-2000:]
        lines = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        body = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
        return body, lines

    return call


def plot(dom, name):
    """The part of the DOM from one plot's element to the figure's caption."""
    start = dom.index(f'id="plot-{name}"')
    return dom[start : dom.index("<figcaption>", start)]


def test_both_plots_are_drawn_and_the_console_is_silent(load, bench):
    dom, lines = load(bench)
    assert lines == []
    for name in ("latency", "memory"):
        assert '<svg class="main-svg"' in plot(dom, name)
    latency = plot(dom, "latency")
    assert latency.count('class="point"') > 1000
    assert "tflite-int8-prune50 (suspect)" in latency
    assert "emulated: qemu-user, not a hardware benchmark" in latency
    assert plot(dom, "memory").count('class="point"') >= 24


def test_the_curve_of_sustained_load_is_drawn(load, make):
    dom, lines = load([make(curve=make.curve(10.0, 10.4, 11.0, 11.2))])
    assert lines == []
    assert plot(dom, "sustained").count('class="point"') >= 4


@pytest.mark.parametrize("count", [1, 40])
def test_one_run_and_forty(load, make, count):
    pairs = [make(index=i, device=f"adb://R{i // 8}", recipe=f"tflite-int8-prune{i}") for i in range(count)]
    dom, lines = load(pairs)
    assert lines == []
    latency = plot(dom, "latency")
    assert all(f"tflite-int8-prune{i}<" in latency for i in range(count))


def test_the_dark_scheme_paints_the_plots_in_its_own_colours(load, make):
    light, _ = load([make()])
    dark, lines = load([make()], "--blink-settings=preferredColorScheme=0")
    assert lines == []
    assert "rgb(31, 102, 176)" in plot(light, "latency")
    assert "rgb(105, 174, 240)" in plot(dark, "latency")


def test_a_hostile_device_runs_nothing(load, make):
    evil = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    link = "<a href=\"javascript:document.title='owned'\">x</a>%{x}"
    dom, lines = load([make(index=0, device=f"ssh://{evil}", recipe=link), make(index=1, labels=(evil,))])
    assert lines == []
    assert "<title>Bench of mobilenet_v2</title>" in dom
    assert "<img" not in dom
    assert not re.search(r"<a [^>]*javascript", dom)
    assert "&lt;a href=" in plot(dom, "latency")


@pytest.mark.parametrize(
    "extra",
    [
        "<script>document.title='owned'</script>",
        "<b onclick=\"document.title='owned'\" id=x>x</b><img src=https://127.0.0.1:9/x.png>",
    ],
)
def test_the_policy_stops_what_would_slip_through_and_the_console_tells(load, make, extra):
    dom, lines = load([make()], extra=extra)
    assert any("Content Security Policy" in line for line in lines)
    assert "<title>Bench of mobilenet_v2</title>" in dom
    assert '<svg class="main-svg"' in plot(dom, "latency")
