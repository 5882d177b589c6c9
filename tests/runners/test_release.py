"""One release of a runtime asked for by name, and several of them side by side on a device."""

import numpy as np
import pytest

from edgekit.artifact import digest
from edgekit.errors import UnknownNameError, UsageError
from edgekit.runners import left
from edgekit.runners.choice import decide
from edgekit.runners.lines import output_array
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES, RuntimeWish

ORT, LITERT = RUNTIMES.get("onnxruntime"), RUNTIMES.get("litert")


def test_none_named_is_the_runtime_as_it_is():
    assert ORT.released("") is ORT
    assert RuntimeWish().asked() == {}


def test_a_release_is_that_alone():
    one = ORT.released("1.23.2")
    assert ([build.version for build in one.builds], one.libraries) == (["1.23.2"], ())
    assert [library.version for library in ORT.released("1.32.0").libraries] == ["1.32.0"]
    assert {build.distribution for build in LITERT.released("2.14.0").builds} == {"tflite-runtime"}


@pytest.mark.parametrize("runtime", [ORT, LITERT, RUNTIMES.get("null")])
def test_an_unknown_release_is_refused_with_the_nearest(runtime):
    with pytest.raises(UnknownNameError, match=f"unknown release of {runtime.name} '1.23.1'") as caught:
        runtime.released("1.23.1")
    assert ("1.23.2" in caught.value.hint) == (runtime is ORT)


@pytest.mark.parametrize(
    ("release", "program"), [("1.32.0", "native"), ("1.23.2", "python"), ("1.32.0", "python")]
)
def test_a_release_runs_by_the_program_that_can(make_facts, monkeypatch, release, program):
    monkeypatch.setattr("edgekit.runners.native.native_program", lambda abi: abi)
    asked = "auto" if (release, program) != ("1.32.0", "python") else "python"
    choice = decide(ORT.released(release), make_facts(), program=asked)
    assert (choice.program, choice.brings.version) == (program, release)


def test_the_command_line_refuses_an_unknown_release_first(call_edgekit, tmp_path):
    code, err = call_edgekit(
        "bench", tmp_path / "none", "--device", "local://", "--runtime", "onnxruntime==1.23"
    )
    assert code == 2
    assert "unknown release of onnxruntime '1.23': did you mean '1.23.2'?" in err


@pytest.fixture
def call_edgekit(capsys):
    """Run a command in this process; return its exit code and its messages."""
    from edgekit.cli.main import main

    def call(*words):
        code = main([str(word) for word in words])
        return code, capsys.readouterr().err

    return call


@pytest.mark.convert
def test_two_releases_lie_side_by_side_and_say_the_same(local, onnx, golden, real_cache):
    artifact, told = onnx / "float.onnx", {}
    for number, release in enumerate(("1.23.2", "1.32.0", "1.23.2")):
        wish = RuntimeWish(release=release)
        try:
            with Runner(local, ORT, program="python", cache=real_cache, wish=wish) as runner:
                job = Job(run_id=f"run-{number:04}", runs=3, warmup=0, passes=("latency",))
                events = list(runner.run(job, artifact, digest(artifact)[0], golden))
        except UsageError as error:
            pytest.skip(f"a wheel is not kept here and can't be downloaded: {error}")
        assert next(event for event in events if event["e"] == "hello")["version"] == release
        told[release] = np.concatenate([output_array(e) for e in events if e["e"] == "output"])
    there = [one.version for one in left.look(local) if one.what == "onnxruntime"]
    assert sorted(there) == ["1.23.2", "1.32.0"]
    np.testing.assert_allclose(told["1.23.2"], told["1.32.0"], rtol=0, atol=1e-5)
