"""The loader: what a target file may say, and the one line that refuses the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from edgekit.errors import UnknownNameError, UsageError
from edgekit.runners.runtime import RUNTIMES, runtime_for
from edgekit.runners.transport import TRANSPORTS
from edgekit.targets import Cluster, Sensor, Target, load_target, target_names
from edgekit.targets.device import SCHEMES
from edgekit.targets.target import FORMATS_OF

LEAST = """
title = "A board"
os = "linux"
abi = "aarch64"
transports = ["ssh"]
runtimes = ["litert"]
"""
WHOLE = """
title = "A board"
soc = "Maker Chip"
os = "linux"
abi = "aarch64"
transports = ["ssh", "local"]
runtimes = ["litert", "onnxruntime"]
memory_mib = [1024, 2048]
sources = ["https://example.org/board"]
note = "What to know."
[match]
model = '^A board( |$)'
soc = "chip$"
[[cores]]
name = "Cortex-A76"
count = 4
max_mhz = 2400
features = ["dotprod", "fp16"]
[[cores]]
name = "Cortex-A55"
count = 2
[[sensors]]
measures = "power"
source = "/sys/class/hwmon/hwmon*/power1_input"
note = "uW"
"""


@pytest.fixture
def write(tmp_path):
    def into_a_file(text: str) -> str:
        path = tmp_path / "my-board.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return into_a_file


def test_the_least_that_a_file_needs(write):
    assert load_target(write(LEAST)) == Target(
        name="my-board",
        title="A board",
        os="linux",
        abi="aarch64",
        transports=("ssh",),
        runtimes=("litert",),
    )


def test_all_that_a_file_may_say(write):
    target = load_target(write(WHOLE))
    assert target.name == "my-board"
    assert target.soc == "Maker Chip"
    assert target.memory_mib == (1024, 2048)
    assert target.match == {"model": "^A board( |$)", "soc": "chip$"}
    assert target.cores == (
        Cluster(name="Cortex-A76", count=4, max_mhz=2400, features=("dotprod", "fp16")),
        Cluster(name="Cortex-A55", count=2, max_mhz=None, features=()),
    )
    assert target.sensors == (
        Sensor(measures="power", source="/sys/class/hwmon/hwmon*/power1_input", note="uW"),
    )
    assert target.sources == ("https://example.org/board",)
    assert target.note == "What to know."
    assert not target.is_generic


def test_a_target_is_data(write):
    target = load_target(write(WHOLE))
    assert target == load_target(write(WHOLE))
    assert len({target, load_target(write(WHOLE))}) == 1
    with pytest.raises(FrozenInstanceError):
        target.title = "other"
    assert Target.from_json(json.loads(json.dumps(target.to_json()))) == target


@pytest.mark.parametrize(
    ("runtimes", "formats"),
    [
        (["litert"], ("tflite",)),
        (["litert", "onnxruntime"], ("tflite", "onnx")),
        (["coreml"], ("coreml",)),
    ],
)
def test_formats_follow_from_the_runtimes(write, runtimes, formats):
    target = load_target(write(LEAST.replace('["litert"]', json.dumps(runtimes))))
    assert target.formats == formats


def test_the_names_known_here_are_the_ones_that_exist():
    assert set(SCHEMES) == set(TRANSPORTS.entries)
    tools = {name for name in RUNTIMES if RUNTIMES.get(name).tool is not None}
    assert set(FORMATS_OF) | {"null"} == set(RUNTIMES.entries) - tools


@pytest.mark.parametrize(("runtime", "format_"), [(r, f) for r, all_ in FORMATS_OF.items() for f in all_])
def test_formats_are_those_that_the_runtime_takes(runtime, format_):
    try:
        found = runtime_for(format_)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not there yet")
    assert found.name == runtime
    assert format_ in found.formats


def line(text: str, new: str) -> str:
    """Return the least file with the line of a key replaced, or a line added."""
    key = new.partition(" ")[0]
    kept = [old for old in text.strip().splitlines() if not old.startswith(f"{key} ")]
    return "\n".join([new, *kept]) if not new.startswith("[") else "\n".join([*kept, new])


REFUSED = [
    ('titel = "x"', "unknown key in {} 'titel': did you mean 'title'?"),
    ("memroy_mib = [1]", "unknown key in {} 'memroy_mib': did you mean 'memory_mib'?"),
    ('formats = ["tflite"]', "unknown key in {} 'formats'"),
    ("title = 5", "{}: 'title' should be a text, not a whole number"),
    ('title = " "', "{}: 'title' is empty"),
    ('os = "linus"', "unknown os in {} 'linus': did you mean 'linux'?"),
    ('abi = "aarch65"', "unknown abi in {} 'aarch65': did you mean 'aarch64'?"),
    ('transports = ["shh"]', "unknown transport in {} 'shh': did you mean 'ssh'?"),
    ('transports = "ssh"', "{}: 'transports' should be a list, not a text"),
    ("transports = []", "{} names no transports: known: adb, fake, local, ssh"),
    ('transports = ["ssh", "ssh"]', "{}: 'transports' holds 'ssh' twice"),
    ('runtimes = ["onnxruntim"]', "unknown runtime in {} 'onnxruntim': did you mean 'onnxruntime'?"),
    ('runtimes = ["null"]', "unknown runtime in {} 'null'"),
    ("runtimes = []", "{} names no runtimes"),
    ("runtimes = [1]", "{}: 'runtimes' should be a text, not a whole number"),
    ("memory_mib = [0]", "{}: 'memory_mib' should be 1 or more, not 0"),
    ("memory_mib = [1.5]", "{}: 'memory_mib' should be a whole number, not a number"),
    ("memory_mib = [true]", "{}: 'memory_mib' should be a whole number, not true or false"),
    ("memory_mib = 1024", "{}: 'memory_mib' should be a list, not a whole number"),
    ("note = 2026-01-01", "{}: 'note' should be a text, not date"),
    ('name = "x"', "{} holds the key 'name': a target is named by its file"),
    ('match = "x"', "{}: 'match' should be a table, not a text"),
    ('[match]\nmodle = "x"', "unknown key in {}, [match] 'modle': did you mean 'model'?"),
    (
        '[match]\nmodel = "("',
        "{}, [match]: model = '(' is no regular expression: missing ), unterminated subpattern",
    ),
    ('[match]\nmodel = ""', "{}, [match]: 'model' is empty"),
    ('cores = ["A76"]', "{}: 'cores' should be a table, not a text"),
    ('[cores]\nname = "A76"', "{}: 'cores' should be a list, not a table"),
    ('[[cores]]\nname = "A76"', "{}, cores[1] lacks the key 'count'"),
    ('[[cores]]\nname = "A76"\ncount = 0', "{}, cores[1]: 'count' should be 1 or more, not 0"),
    (
        '[[cores]]\nname = "A76"\ncount = 4\nmax_ghz = 2',
        "unknown key in {}, cores[1] 'max_ghz': did you mean 'max_mhz'?",
    ),
    (
        '[[cores]]\nname = "A76"\ncount = 4\nfeatures = ["dotprot"]',
        "unknown feature in {}, cores[1] 'dotprot': did you mean 'dotprod'?",
    ),
    (
        '[[sensors]]\nmeasures = "power"\nsource = "x"\n[[sensors]]\nmeasures = "powr"\nsource = "y"',
        "unknown measures in {}, sensors[2] 'powr': did you mean 'power'?",
    ),
    ('[[sensors]]\nmeasures = "power"', "{}, sensors[1] lacks the key 'source'"),
    ("title = ", "{} is no TOML: Invalid value"),
]


@pytest.mark.parametrize(("new", "message"), REFUSED)
def test_what_is_refused_and_the_line_that_says_so(write, new, message):
    path = write(line(LEAST, new))
    with pytest.raises(UsageError) as caught:
        load_target(path)
    assert str(caught.value).startswith(message.format(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["title", "os", "abi", "transports", "runtimes"])
def test_what_a_file_needs(write, key):
    text = "\n".join(old for old in LEAST.splitlines() if not old.startswith(key))
    with pytest.raises(UsageError, match=key):
        load_target(write(text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.toml can't be read"):
        load_target(str(tmp_path / "nowhere.toml"))


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "noise.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"noise\.toml is no TOML"):
        load_target(str(path))


@pytest.mark.parametrize(
    ("name", "near"),
    [("raspberry-pi-6", "raspberry-pi-"), ("rasberry-pi-4", "raspberry-pi-4"), ("rock5b", "rock-5b")],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, near):
    with pytest.raises(UnknownNameError, match=f"unknown target '{name}': did you mean '{near}"):
        load_target(name)


@pytest.mark.parametrize("name", ["", "../targets/rock-5b", "/etc/passwd", "ROCK-5B"])
def test_a_name_is_no_path(name):
    with pytest.raises(UnknownNameError):
        load_target(name)


def test_names_are_sorted_and_load_light():
    assert list(target_names()) == sorted(target_names())
    program = (
        "import sys; from edgekit.targets import load_target, target_names\n"
        "[load_target(n) for n in target_names()]\n"
        "heavy = {'numpy', 'paramiko', 'importlib.metadata', 'edgekit.runners'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
