"""Registries: no name twice, nothing imported before it is asked for, read-only outside."""

import sys

import pytest

from edgekit.errors import UnknownNameError
from edgekit.plugins import Registry


@pytest.fixture
def shelf():
    return Registry("thing", refuse=UnknownNameError)


def test_a_decorator_adds_and_gives_back(shelf):
    @shelf.register("one")
    def one():
        return 1

    assert shelf.get("one") is one
    assert one() == 1
    assert list(shelf) == ["one"]
    assert "one" in shelf


def test_a_name_twice_is_an_error(shelf):
    shelf.add("a", 1)
    with pytest.raises(ValueError, match="thing 'a' is registered twice"):
        shelf.add("a", 2)
    assert shelf.get("a") == 1


def test_a_lazy_entry_is_imported_when_it_is_asked_for(shelf, tmp_path, monkeypatch):
    (tmp_path / "lazy_thing_of_this_test.py").write_text("value = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    shelf.add("lazy", "lazy_thing_of_this_test:value")
    assert list(shelf.entries) == ["lazy"]
    assert "lazy_thing_of_this_test" not in sys.modules
    value = shelf.get("lazy")
    assert value is sys.modules["lazy_thing_of_this_test"].value
    assert shelf.get("lazy") is value


def test_an_unknown_name_is_refused_with_the_nearest(shelf):
    shelf.add("litert", 1)
    with pytest.raises(UnknownNameError, match="unknown thing 'literT': did you mean 'litert'"):
        shelf.get("literT")


def test_the_view_is_read_only(shelf):
    with pytest.raises(TypeError):
        shelf.entries["x"] = 1


def test_entry_points_of_other_packages_are_found(tmp_path, monkeypatch):
    info = tmp_path / "some_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgekit.tests]\nmine = some_plugin_module:thing\n")
    (tmp_path / "some_plugin_module.py").write_text("thing = 'from outside'\n")
    monkeypatch.syspath_prepend(tmp_path)
    shelf = Registry("thing", refuse=UnknownNameError, group="edgekit.tests")
    assert list(shelf) == ["mine"]
    assert shelf.get("mine") == "from outside"
