import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop import errors
from onehop.errors import OnehopError, nearest


def test_a_message_tells_place_problem_and_remedy_and_leaves_out_what_it_was_not_given():
    assert str(OnehopError("too long", "Cut it.", "a.txt:3")) == "a.txt:3: too long\n  Cut it."
    assert str(OnehopError("too long")) == "too long"


@pytest.mark.parametrize(
    "kind", ["ConfigError", "DataError", "LengthError", "ModelError", "FileError", "TrainingError"]
)
def test_every_kind_of_error_is_caught_as_one(kind):
    error = getattr(errors, kind)("problem", "remedy", "where")
    assert isinstance(error, OnehopError)
    assert (error.problem, error.remedy, error.where) == ("problem", "remedy", "where")


@given(st.text(), st.lists(st.text(), max_size=5))
def test_a_hint_names_one_of_the_known_names_or_nothing(name, known):
    hint = nearest(name, known)
    assert hint == "" or hint in [f"did you mean {each!r}?" for each in known]


def test_a_slip_of_the_pen_finds_its_name_and_another_word_none():
    assert nearest("lerning_rate", ["learning_rate", "warmup"]) == "did you mean 'learning_rate'?"
    assert nearest("xyzzy", ["learning_rate", "warmup"]) == ""
