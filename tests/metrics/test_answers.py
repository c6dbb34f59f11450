import pytest

from onehop.metrics.answers import answering, best_threshold, compare_answers, exact, f1, normalised, scores


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The  Eiffel Tower", "eiffel tower"),
        ("an apple, a pear & the plum.", "apple pear plum"),
        ("Theatre-an-der", "theatreander"),  # articles are words, and punctuation leaves no space
        ("U.S.A.", "usa"),
        ("the", ""),
        ("«été»", "«été»"),  # punctuation is ASCII's
        ("", ""),
    ],
)
def test_answers_are_compared_without_case_punctuation_articles_and_space(answer, expected):
    assert normalised(answer) == expected


@pytest.mark.parametrize(
    ("found", "wanted", "match", "value"),
    [
        ("the red Fox", "Red fox!", 1, 1),
        ("red fox", "fox", 0, 2 / 3),  # precision 1/2, recall 1
        ("a b b c".replace("a ", ""), "b b d", 0, 2 * 2 / 6),  # b is common twice
        ("dog", "fox", 0, 0),
        ("", "fox", 0, 0),
        ("the", "a", 1, 1),  # both are nothing once normalised
    ],
)
def test_exact_match_and_f1_by_hand(found, wanted, match, value):
    assert exact(found, wanted) == match
    assert f1(found, wanted) == pytest.approx(value)


def test_the_best_of_several_answers_counts_and_without_one_only_the_empty_answer_is_right():
    table = scores(["red fox", "fox", "", "", "x"], [["a dog", "red foxes", "fox"], ["the"], [], ["fox"], []])
    assert table.tolist() == [[0, pytest.approx(2 / 3)], [0, 0], [1, 1], [0, 0], [0, 0]]
    result = answering(["fox", "", "x"], [["fox"], [], []])
    assert (result.exact, result.f1) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert result.by_kind == {"answered": (1, 1, 1), "unanswerable": (2, 0.5, 0.5)}
    assert result.intervals["f1"].low <= result.f1 <= result.intervals["f1"].high


def test_a_paired_test_of_equal_answers_finds_nothing():
    assert compare_answers(["a b"] * 9, ["a b"] * 9, [["b"]] * 9) == (0, 1)
    assert compare_answers(["fox"] * 20, ["dog"] * 20, [["fox"]] * 20)[1] < 0.01


def test_the_threshold_is_the_best_of_all():
    margins, found = [5.0, 4.0, 4.0, 1.0, -2.0], ["fox", "fox", "dog", "fox", "fox"]
    wanted = [["fox"], ["fox"], [], ["fox"], []]
    threshold, best = best_threshold(margins, found, wanted)

    def mean(value):
        given = [one if margin >= value else "" for margin, one in zip(margins, found, strict=True)]
        return scores(given, wanted)[:, 1].mean()

    tried = [mean(value) for value in (6, 4.5, 2, 0, -3)]
    assert best == pytest.approx(mean(threshold)) == pytest.approx(max(tried))
