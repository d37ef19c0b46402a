"""Finding cassettes."""

from __future__ import annotations

import pytest
from conftest import COMPLETED, cassette_text

from pytest_indexjob import CassetteNotFoundError
from pytest_indexjob.recording.library import (
    find,
    find_file,
    locate,
    name_for_test,
    open_cassettes,
    shipped_folder,
)


def test_the_projects_own_comes_first_then_the_shipped(tmp_path):
    assert find("completed", tmp_path) == shipped_folder() / "completed.yaml"
    own = tmp_path / "completed.yaml"
    own.write_text(cassette_text(COMPLETED))
    assert find("completed", tmp_path) == own
    tmp_path.joinpath("sub").mkdir()
    tmp_path.joinpath("sub", "x.yaml").write_text(cassette_text(COMPLETED))
    assert open_cassettes(["sub/x", "completed"], tmp_path).played == 0


def test_a_missing_one_names_the_near_ones(tmp_path):
    tmp_path.joinpath("mine.yaml").touch()
    with pytest.raises(CassetteNotFoundError, match="Did you mean completed") as raised:
        find("complete", tmp_path)
    assert raised.value.near[0] == "completed"
    assert raised.value.path == tmp_path / "complete.yaml"
    with pytest.raises(CassetteNotFoundError) as raised:
        find("mime", tmp_path)
    assert raised.value.near[0] == "mine"


@pytest.mark.parametrize("name", ["cassettes/completed.yaml", "completed.yaml"])
def test_a_path_in_the_place_of_a_name_is_understood(tmp_path, name):
    with pytest.raises(CassetteNotFoundError, match=r"Did you mean completed\?") as raised:
        find(name, tmp_path)
    assert raised.value.near == ("completed",)


def test_a_misspelt_name_of_a_command_names_the_near_ones():
    with pytest.raises(CassetteNotFoundError, match=r"Did you mean partial\?"):
        find_file("partail")


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/passwd",
        "a/../../x",
        "a\\..\\b",
        "",
        ".",
        "..",
        "a\0b",
        "a\nb",
        "a//b",
        "C:x",
        "link/x",
        "~/x",
    ],
)
def test_names_that_reach_outside_are_refused(tmp_path, name):
    folder = tmp_path / "cassettes"
    folder.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.joinpath("x.yaml").write_text(cassette_text(COMPLETED))
    tmp_path.joinpath("x.yaml").write_text(cassette_text(COMPLETED))
    folder.joinpath("link").symlink_to(outside)
    with pytest.raises(CassetteNotFoundError, match="can't be a cassette's name"):
        find(name, folder)


NAMES = [
    "test_a",
    "test_A",
    "test[a/b]",
    "test[a:b]",
    "test[a?b]",
    "test[a b]",
    "test[A/b]",
    "t" * 300,
    "t" * 301,
    "é",
    "...",
]


def test_every_test_gets_a_file_of_its_own(tmp_path):
    made = [name_for_test("test_m", name) for name in NAMES]
    assert len({name.lower() for name in made}) == len(NAMES)
    assert made[0] == "test_m/test_a"
    assert made == [name_for_test("test_m", name) for name in NAMES]
    for name in made:
        assert len(locate(name, tmp_path).name) < 150
        assert not set(name) & set('<>:"\\|?*')
