"""The command line's manners: one line for a mistake, the nearest word, the exit code, JSON when asked."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from edgekit.cli import main as cli
from edgekit.errors import DeviceLostError, UsageError


def run(capsys, *arguments):
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def all_commands(parser=None, words=()):
    parser = parser or cli.build_parser()
    if words:
        yield words
    for name, child in parser.commands().items():
        yield from all_commands(child, (*words, name))


@pytest.mark.parametrize("words", list(all_commands()), ids=" ".join)
def test_every_command_has_help_with_a_sentence_and_no_empty_option(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: edgekit {' '.join(words)}")
    parser = cli.build_parser()
    for word in words:
        parser = parser.commands()[word]
    assert parser.description
    for action in parser._actions:
        if action.option_strings and action.dest != "help":
            assert action.help, action.option_strings


@pytest.mark.parametrize(
    "words",
    [w for w in all_commands() if w not in {("zoo",), ("targets",), ("runs",), ("devices",), ("runtimes",)}],
)
def test_every_command_takes_json(words, capsys):
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["zoo", "lst"], "unknown command 'lst': did you mean list?"),
        (["bnch"], "unknown command 'bnch': did you mean bench?"),
        (["bench", "b", "--devices", "local://"], "unknown option --devices: did you mean --device?"),
        (["convert", "x", "-o", "b", "--calibrat=y"], "unknown option --calibrat: did you mean --calibrate?"),
        (["bench", "b"], "required: --device"),
        (["runs", "list", "lst=3"], "unknown"),
        (["convert", "mobilenet_v1_0.25@32", "-r", "tflite-int88", "-o", "b"], "did you mean 'tflite-int8'?"),
        (["convert", "mobilenet_v1_0.25@32", "-r", "onnx-int8", "-o", "b"], "calibrat"),
        (["convert", "mobilnet_v1_0.25", "-r", "onnx-fp32", "-o", "b"], "did you mean 'mobilenet_v1_0.25'?"),
        (["convert", "x", "--for", "rasberry-pi-5", "-o", "b"], "did you mean 'raspberry-pi-5'?"),
        (["targets", "show", "pixel8"], "did you mean 'pixel-8'?"),
        (["bench", "nowhere", "--device", "local://"], "nowhere"),
        (["bench", ".", "--device", "sssh://x"], "did you mean 'ssh'?"),
        (["bench", ".", "--device", "ssh://pi:secret@x"], "is given with a password"),
        (["verify", "nowhere"], "not a bundle"),
    ],
)
def test_a_mistake_is_one_line_with_the_next_step_and_exit_code_2(
    arguments, said, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert not out
    assert said in err
    assert err.startswith("edgekit: ")
    assert err.count("\n") == 1
    assert "secret" not in err
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_a_document_too_when_json_is_asked_for(capsys, tmp_path):
    code, out, err = run(capsys, "verify", str(tmp_path), "--json")
    document = json.loads(out)
    assert code == 2
    assert document["schema"] == 1
    assert document["error"]["kind"] == "UsageError"
    assert document["error"]["hint"]
    assert "not a bundle" in err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (UsageError("u"), 2),
        (DeviceLostError("ssh://b", "gone"), 1),
        (KeyboardInterrupt(), 130),
        (ValueError("v"), 1),
    ],
)
def test_exit_codes(raised, code, capsys, monkeypatch):
    def fail(_):
        raise raised

    monkeypatch.setattr("edgekit.cli.lists.zoo_list", fail)
    monkeypatch.delenv("EDGEKIT_DEBUG", raising=False)
    parser = cli.build_parser()
    monkeypatch.setattr(cli, "build_parser", lambda: parser)
    parser.commands()["zoo"].commands()["list"].set_defaults(call=fail)
    assert run(capsys, "zoo", "list")[0] == code


def test_a_reader_that_goes_away_is_no_error():
    command = [sys.executable, "-m", "edgekit.cli.main", "targets", "list", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(1) == b"{"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_zoo_list_tells_what_one_chooses_by(capsys):
    code, out, _ = run(capsys, "zoo", "list", "--json")
    networks = {n["name"]: n for n in json.loads(out)["networks"]}
    assert code == 0
    assert networks["squeezenet_1.1"]["parameters"] == 1_235_496
    for entry in networks.values():
        assert entry["parameters"] > 0
        assert entry["macs"] > 0
        assert entry["resolution"] > 0
        assert entry["top1"] is None or entry["top1_source"]


def test_targets_list_and_show(capsys):
    code, out, _ = run(capsys, "targets", "list", "--json")
    names = [t["name"] for t in json.loads(out)["targets"]]
    assert code == 0
    assert len(names) >= 12
    for name in names:
        code, out, _ = run(capsys, "targets", "show", name)
        assert code == 0
        assert out.strip()


def test_doctor_says_what_is_there_and_how_to_get_the_rest(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    assert code == 0
    checks = json.loads(out)["checks"]
    assert {"what", "ok", "detail"} <= set(checks[0])
    assert any(c["what"] == "adb" for c in checks)
    for check in checks:
        assert check["detail"], check


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda n: n.name)
def test_a_bench_that_is_ended_gives_its_device_back_and_keeps_its_samples(tmp_path, number):
    (tmp_path / "net.tflite").write_bytes(b"whatever: the null runtime reads none of it")
    argv = ["bench", "net.tflite", "--runtime", "null", "--device", "local://", "--runs", "1000000000"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgekit.cli.main",
            *argv,
            "--max-s",
            "300",
            "--json",
            "--store",
            "runs.sqlite",
        ],
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (signal.SIGHUP, signal.SIGINT)],  # noqa: PLW1509
    )
    root = tmp_path / "cache" / "edgekit" / "device"
    deadline = time.monotonic() + 60
    while not any(b'"samples"' in path.read_bytes() for path in root.glob("runs/*/latency.jsonl")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (root / "lease" / "holder").exists()
    process.send_signal(number)
    told = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 130
    assert told["interrupted"]
    assert told["runs"][0]["latency"]["count"] > 0
    assert not (root / "lease").exists()
