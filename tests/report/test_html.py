"""The HTML report: whole, self-contained, the same for the same runs, and deaf to hostile names."""

import json
import re
import sys
from html.parser import HTMLParser

import pytest

from edgekit.errors import MissingExtraError, UsageError
from edgekit.report.html import json_text, render, script_hash, write_html

pytest.importorskip("jinja2")
pytest.importorskip("plotly")

VOID = {"meta", "br", "link", "img", "input", "hr"}
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}"


class Page(HTMLParser):
    """A page's elements, its text without scripts and styles, and its nesting held to be right."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words, self.scripts = [], [], [], {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tag, attributes = self.open[-1] if self.open else ("", {})
        if tag == "script":
            key = attributes.get("id", len(self.scripts))
            self.scripts[key] = self.scripts.get(key, "") + data
        elif tag != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(bench):
    return Page(render(bench))


def test_the_page_says_all_that_the_table_does(page):
    assert "Bench of mobilenet_v2" in page.text
    assert "12 runs on 2 devices, 2026-03-02 10:00 to 2026-03-02 10:11 UTC" in page.text
    for words in ("12.91 [12.90, 12.93]", "withheld: needs 9 more", "246.5 peak 267.9 MiB", "WRONG, 0.873"):
        assert words in page.text
    assert (
        "Power of ssh://pi@10.0.0.7, ssh://root@127.0.0.1:2222: not measurable here: no sensor." in page.text
    )


def test_outer_percentiles_worth_and_warm_up_are_there(make):
    page = Page(render([make(count=300, worth=0.19)]))
    for words in ("P90, ms", "P99, ms", "300 10 warm-up worth 57", "Steady state"):
        assert words in page.text


def test_sustained_load_has_its_plot_and_its_words(make):
    page = Page(render([make(index=0), make(index=1, curve=make.curve(10, 11))]))
    assert "P50 +10.0 % [+9.0 %, +11.0 %] from minute 1 to minute 2" in page.text
    plots = [a["id"] for a in page.all("div") if "data-figure" in a]
    assert plots == ["plot-latency", "plot-sustained", "plot-memory"]
    assert json.loads(page.scripts["figure-sustained"])["data"][0]["x"] == [1, 2]


def test_verdicts_are_words_and_counted(page):
    assert "3 valid 7 suspect 2 invalid" in page.text
    chips = [a["class"] for a in page.all("span") if a.get("class", "").startswith("chip")]
    assert chips.count("chip invalid") == 1 + 2 + 1


def test_doubts_are_spelled_out_with_number_limit_hint_and_runs(page):
    assert "spread suspect 0.31 0.1 the samples scatter: stop other work there" in page.text
    assert "outputs-wrong invalid 0.873 0.02 the outputs are not the source's" in page.text


def test_emulated_numbers_are_labelled_large_and_at_each_device_and_run(page):
    assert page.text.count("emulated: qemu-user, not a hardware benchmark") == 1 + 2
    labels = [a for a in page.all("span") if a.get("class") == "sub label"]
    assert len(labels) == 6


def test_conditions_method_and_provenance_are_there(page, bench):
    assert "0.12 → 2.9 → 3.1" in page.text
    assert "How each number was measured" in page.text
    for run, _ in bench:
        assert run.artifact.sha256 in page.text


def test_every_link_leads_somewhere_on_the_page(page):
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"] for a in page.all("a")}
    assert links
    assert links <= {f"#{name}" for name in ids}


def test_tables_have_captions_and_scopes(page):
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption") == 3
    assert all(a.get("scope") in {"col", "row", "rowgroup"} for a in page.all("th"))
    plots = [a for a in page.all("div") if "data-figure" in a]
    assert [a["id"] for a in plots] == ["plot-latency", "plot-memory"]
    assert all(a["role"] == "img" and len(a["aria-label"]) > 40 for a in plots)
    assert page.all("html") == [{"lang": "en"}]


def test_nothing_is_loaded_from_anywhere(page, bench):
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    style = re.search(r"<style>(.*?)</style>", render(bench), re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_names_the_two_scripts_and_nothing_else(page):
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    running = [text for key, text in page.scripts.items() if isinstance(key, int)]
    assert len(running) == 2
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert re.findall(r"'sha256-[^']+'", policy) == [script_hash(text) for text in running]
    assert "unsafe-eval" not in policy


def test_the_same_runs_give_the_same_bytes(bench):
    assert render(bench) == render(list(bench))


def test_a_hostile_device_injects_nothing(make):
    pair = make(
        device=f"ssh://{EVIL}", recipe=EVIL, source=EVIL, target=EVIL, labels=(f"emulated: {EVIL}",),
        facts={"model": EVIL}, power={"unavailable": EVIL}, withheld=EVIL, count=20,
        doubts=[make.doubt(hint=EVIL)], conditions=({"when": "during", "throttled": EVIL},),
    )  # fmt: skip
    page = Page(render([pair], title=EVIL))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 4
    assert "img" not in tags
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert "alert" not in page.scripts[2] + page.scripts[3]
    assert page.text.count("</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}") >= 8


def test_a_verdict_from_elsewhere_can_not_leave_its_attribute(make):
    page = Page(render([make(verdict='x" onclick="alert(1)')]))
    assert not [a for _, a in page.elements if "onclick" in a]


def test_figures_in_the_page_are_the_figures(page, bench):
    from edgekit.report import plots

    assert json.loads(page.scripts["figure-latency"]) == json.loads(json.dumps(plots.latency_figure(bench)))
    assert json.loads(page.scripts["figure-memory"]) == json.loads(json.dumps(plots.memory_figure(bench)))


def test_json_can_stand_in_a_script():
    value = {"a": "</script><!--&\u2028"}
    assert not set(json_text(value)) & set("<>&\u2028")
    assert json.loads(json_text(value)) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(float("nan"))


def test_one_run_of_a_real_device_has_no_banner(make):
    page = Page(render([make()]))
    assert "1 run on 1 device, 2026-03-02 10:00 UTC" in page.text
    assert "not a hardware benchmark" not in page.text
    assert "doubts" not in [a.get("id") for _, a in page.elements]


def test_a_run_with_nothing_measured_still_makes_a_page(make):
    page = Page(
        render([make(samples_ns=[], load_ns=None, first_ns=None, memory=(), parity=None, conditions=())])
    )
    for words in ("No run has a timed sample", "Memory could not be measured", "not reached", "not checked"):
        assert words in page.text
    assert "script" not in [tag for tag, _ in page.elements]


def test_power_figures_get_their_column(make):
    meter = {"source": "ina219", "mean_mw": 812.4, "energy_per_inference_uj": 1234}
    page = Page(render([make(index=0, power=meter), make(index=1)]))
    assert "Power" in page.text
    assert "812 mW, 1.23 mJ an inference (ina219)" in page.text
    assert "Power of" not in page.text


def test_a_title_is_taken_and_several_sources_need_none(make):
    pairs = [make(index=0), make(index=1, source="squeezenet_1.1")]
    assert "<title>Bench report</title>" in render(pairs)
    assert "<title>Mine &amp; yours</title>" in render(pairs, title="Mine & yours")


def test_a_real_summary_makes_a_page(make):
    from edgekit.bench.summarize import summarize

    run, _ = make(count=50)
    assert "withheld: needs 9 more" in Page(render([(run, summarize(run))])).text


def test_the_file_is_written_whole_and_replaced(make, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    write_html([make()], path, title="T")
    assert path.read_text(encoding="utf-8") == render([make()], title="T")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_no_runs_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(UsageError, match="no runs to report"):
        write_html([], tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_line(make, tmp_path):
    with pytest.raises(UsageError, match=r"can't be written \(no such file or directory\)") as caught:
        write_html([make()], tmp_path / "nowhere" / "report.html")
    assert caught.value.hint
    with pytest.raises(UsageError, match="can't be written"):
        write_html([make()], tmp_path)


@pytest.mark.parametrize(("module", "library"), [("jinja2", "jinja2"), ("plotly.offline", "plotly")])
def test_a_missing_library_names_its_extra(make, monkeypatch, tmp_path, module, library):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=f"{library} is not installed") as caught:
        write_html([make()], tmp_path / "report.html")
    assert "edgekit-sdk[report]" in caught.value.hint
    assert not list(tmp_path.iterdir())
