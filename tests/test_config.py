import copy
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from onehop.config import SettingsError, Table, override, read_toml, validate
from onehop.errors import ConfigError, FileError


class Inner(Table):
    size: int = Field(default=1, ge=1)
    name: str = "a"


class Outer(Table):
    inner: Inner = Inner()
    needed: int


VALUES = st.one_of(st.integers(-(2**62), 2**62), st.booleans(), st.floats(-1e9, 1e9), st.lists(st.integers(0, 9)))


@given(VALUES)
def test_a_setting_gives_the_value_that_the_same_text_has_in_a_file(value):
    text = str(value).lower() if isinstance(value, bool) else str(value)
    assert override({}, [f"a.b={text}"]) == {"a": tomllib.loads(f"b = {text}")} == {"a": {"b": value}}


def test_a_bare_word_is_text_and_so_is_one_in_quotes():
    assert override({}, ["a.b=post", 'a.c="post"', "a.d = post "]) == {"a": {"b": "post", "c": "post", "d": "post"}}


def test_the_last_setting_wins_and_the_tables_given_stay_as_they_were():
    data = {"a": {"b": 1, "deep": {"x": 1}}}
    before = copy.deepcopy(data)
    assert override(data, ["a.b=2", "a.b=3", "a.deep.x=5"]) == {"a": {"b": 3, "deep": {"x": 5}}}
    assert data == before


@pytest.mark.parametrize("setting", ["seed=3", "train.seed", "=3", ".=3", "train.=3", ".seed=3", ""])
def test_a_setting_that_names_no_table_and_key_is_refused_with_an_example(setting):
    with pytest.raises(ConfigError, match=r"--set train.seed=2"):
        override({}, [setting])


def test_a_setting_below_a_value_is_refused():
    with pytest.raises(ConfigError, match="'b' is a value, not a table"):
        override({"a": {"b": 1}}, ["a.b.c=2"])


def test_all_mistakes_come_at_once_each_with_its_key_and_an_unknown_key_with_the_nearest():
    with pytest.raises(SettingsError) as caught:
        validate(Outer, {"inner": {"size": 0, "nmae": "b"}, "other": 1}, "file.toml")
    assert caught.value.lines == [
        "inner.size: input should be greater than or equal to 1 (given: 0)",
        "inner.nmae: unknown key; did you mean 'name'?",
        "needed: must be given",
        "other: unknown key; known here: inner, needed",
    ]
    assert str(caught.value).startswith("file.toml: 4 mistakes in the settings:\n  - inner.size")


@pytest.mark.parametrize("value", ["1", 1.5, True, None, [1]])
def test_a_value_of_another_type_is_refused_rather_than_turned_into_one(value):
    with pytest.raises(SettingsError, match=r"inner.size"):
        validate(Outer, {"inner": {"size": value}, "needed": 1}, "file.toml")


def test_settings_cannot_be_changed_once_made():
    settings = validate(Outer, {"needed": 1}, "file.toml")
    with pytest.raises(ValueError, match="frozen"):
        settings.needed = 2


@pytest.mark.parametrize("number", ["inf", "nan", "-inf"])
def test_a_number_that_is_none_is_refused(number):
    class Numbers(Table):
        rate: float

    with pytest.raises(SettingsError, match="rate"):
        validate(Numbers, override({}, [f"t.rate={number}"])["t"], "file.toml")


def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path):
    (tmp_path / "r.toml").write_text("[train]\nseed = 1\npreset = auto\n")
    with pytest.raises(ConfigError, match=r"(?s)r.toml: not TOML: .*line 3.*quotes"):
        read_toml(tmp_path / "r.toml")


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xef\xbb\xbf[train]\r\nseed = 1\r\n")
    assert read_toml(tmp_path / "r.toml") == {"train": {"seed": 1}}


@pytest.mark.parametrize("data", [b"a = '\xff'", b"\xff\xfea\x00", b"a = 1\x00"])
def test_bytes_that_are_no_text_are_refused_by_name(tmp_path, data):
    (tmp_path / "r.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=r"r.toml: not TOML"):
        read_toml(tmp_path / "r.toml")


def test_a_missing_file_and_a_folder_are_file_errors_with_a_remedy(tmp_path):
    with pytest.raises(FileError, match=r"(?s)none.toml: cannot read: No such file.*Check the path"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(FileError, match="Name a file, not a folder"):
        read_toml(tmp_path)


def test_a_number_that_no_tensor_holds_is_a_mistake_of_its_table():
    assert validate(Inner, {"size": 2**63 - 1}, "recipe.toml").size == 2**63 - 1
    with pytest.raises(SettingsError, match="inner: size is a number of 20 digits"):
        validate(Outer, {"inner": {"size": 10**19}, "needed": 1}, "recipe.toml")
