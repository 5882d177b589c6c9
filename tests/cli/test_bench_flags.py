"""How long, how many threads, which cores, at what pace, by which program: what is asked for happens."""

import json
import os

import pytest

from edgekit.runners.program import native_program


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A file that the null runtime takes, and a folder of EdgeKit's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEKIT_STORE", str(tmp_path / "runs.sqlite"))
    path = tmp_path / "net.tflite"
    path.write_bytes(b"the null runtime reads none of it")
    return path


@pytest.fixture
def bench(call, net):
    """Bench it here with the null runtime; return the exit code, the document or None, and the messages."""

    def run(*words):
        code, out, err = call("bench", net, "--runtime", "null", "--device", "local://", "--json", *words)
        return code, json.loads(out) if out.startswith("{") else None, err

    return run


# --- one run each -----------------------------------------------------------------------------------------
def test_every_number_of_threads_is_a_run(bench):
    code, told, err = bench("--threads", "1,2,4", "--runs", 20)
    assert code == 0, err
    assert [run["plan"]["threads"] for run in told["runs"]] == [1, 2, 4]


def test_every_choice_of_cores_is_a_run(bench):
    one = str(min(os.sched_getaffinity(0)))
    code, told, err = bench("--cores", one, "--cores", f"{one}-{one}", "--runs", 20)
    assert code == 0, err
    assert [run["plan"]["cores"] for run in told["runs"]] == [one, f"{one}-{one}"]


def test_runs_asked_for_are_runs_made(bench):
    _, told, _ = bench("--runs", 77, "--warmup", 5)
    assert told["runs"][0]["latency"]["count"] == 77
    assert told["runs"][0]["plan"]["warmup"] == 5


# --- how long ---------------------------------------------------------------------------------------------
def test_it_ends_when_it_is_precise_enough(bench):
    """Half of the value is a goal that any machine reaches; the runs asked for would take minutes."""
    code, told, err = bench("--until-precision", "50%", "--max-s", 60)
    assert code == 0, err
    (run,) = told["runs"]
    assert run["plan"]["precision"] == 0.5
    assert run["ended"] in {"enough", "limit", "done"}
    assert run["latency"]["count"] <= run["plan"]["runs"] == 1_000_000


def test_the_limit_of_time_comes_first(bench):
    _, told, _ = bench("--until-precision", "0.01%", "--max-s", 1, "--period-ms", 1)
    (run,) = told["runs"]
    assert run["ended"] == "limit"
    assert 0 < run["latency"]["count"] <= 1001


def test_sustained_runs_for_its_whole_time(bench):
    _, told, _ = bench("--sustained", 0.02)
    (run,) = told["runs"]
    assert run["plan"]["sustained"]
    assert run["plan"]["max_s"] == pytest.approx(1.2)
    assert run["ended"] in {"limit", "done"}


def test_a_pace_is_kept_and_recorded(bench):
    _, told, _ = bench("--period-ms", 10, "--runs", 12, "--warmup", 0)
    (run,) = told["runs"]
    assert run["plan"]["period_s"] == pytest.approx(0.01)
    assert run["latency"]["count"] == 12


# --- by which program -------------------------------------------------------------------------------------
def programs(folder):
    """Return the programs that were brought."""
    return {path.name for path in folder.rglob("device/store/*/edgekit_runner*")}


@pytest.mark.parametrize("program", ["native", "python"])
def test_the_program_that_is_asked_for_runs(bench, tmp_path, program):
    import platform

    if program == "native" and native_program(platform.machine()) is None:
        pytest.skip("the native programs are not built here: pip install -e .")
    code, _, err = bench("--program", program, "--runs", 10)
    assert code == 0, err
    (brought,) = programs(tmp_path)
    assert (
        brought == {"native": f"edgekit_runner-{platform.machine()}", "python": "edgekit_runner.pyz"}[program]
    )


def test_a_profile_takes_the_program_that_reaches_one(bench, tmp_path):
    code, _, err = bench("--profile", "--runs", 10)
    assert code == 0, err
    assert programs(tmp_path) == {"edgekit_runner.pyz"}


# --- what can't be done is said before a device is touched ------------------------------------------------
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threads", "many"], "--threads many: no numbers: give one or several: 1,2,4"),
        (["--threads", "0"], "threads is 0"),
        (["--threads", "2,2"], "number of threads 2 is named twice"),
        (["--cores", "huge"], "names no cores"),
        (["--until-precision", "200%"], "precision is 2.0"),
        (["--until-precision", "fine"], "invalid"),
        (["--period-ms", "60000"], "period_s is 60.0"),
        (["--program", "nativ"], "nativ"),
        (["--program", "native", "--profile"], "reaches no profiler"),
        (["--runs", "0"], "runs is 0"),
        (["--max-s", "0"], "max_s is 0"),
    ],
)
def test_one_line_says_what_is_wrong(bench, tmp_path, words, said):
    code, _, err = bench(*words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "cache").exists()


def test_cores_that_the_device_does_not_have_are_named(bench):
    code, told, err = bench("--cores", "4000", "--runs", 5)
    assert code == 1
    assert "no such CPUs: 4000" in err
    assert told["runs"] == []
