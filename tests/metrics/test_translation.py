import random
import subprocess
import sys

import pytest
import sacrebleu

from onehop.errors import ConfigError, DataError
from onehop.metrics import bleu, by_length, chrf, interval, paired, ter, tokenizer_for

# Written for this test.
TEXT = "the red kite over our small harbour turns slowly while two children count its seven paper tails"
WORDS = TEXT.split()


def _corpus(lines: int, wrong: float, seed: int = 1) -> tuple[list[str], list[str]]:
    """Return references of 3 to 16 words and hypotheses in which a share of the words is wrong."""
    choose = random.Random(seed)
    references = [" ".join(choose.choices(WORDS, k=choose.randint(3, 16))) + "." for _ in range(lines)]
    hypotheses = [
        " ".join("wind" if choose.random() < wrong else word for word in line.split(" ")) for line in references
    ]
    return hypotheses, references


HYPOTHESES, REFERENCES = _corpus(200, wrong=0.3)


def test_bleu_and_its_signature_are_those_of_sacrebleu():
    theirs = sacrebleu.BLEU()
    expected = theirs.corpus_score(HYPOTHESES, [REFERENCES]).score
    score = bleu(HYPOTHESES, REFERENCES)
    assert (score.name, score.value, score.signature) == ("BLEU", expected, str(theirs.get_signature()))
    assert 10 < score.value < 90


def test_chrf_and_its_signature_are_those_of_sacrebleu():
    theirs = sacrebleu.CHRF()
    expected = theirs.corpus_score(HYPOTHESES, [REFERENCES]).score
    score = chrf(HYPOTHESES, REFERENCES)
    assert (score.name, score.value, score.signature) == ("chrF2", expected, str(theirs.get_signature()))
    assert 10 < score.value < 90


def test_ter_and_its_signature_are_those_of_sacrebleu():
    theirs = sacrebleu.TER()
    expected = theirs.corpus_score(HYPOTHESES, [REFERENCES]).score
    score = ter(HYPOTHESES, REFERENCES)
    assert (score.name, score.value, score.signature) == ("TER", expected, str(theirs.get_signature()))
    assert 10 < score.value < 90


def test_ter_counts_edits_and_a_run_of_words_that_moved_as_one():
    reference = ["the red kite over our small harbour"]
    for hypothesis, edits in (
        ("the red kite over our small harbour", 0),
        ("The Red kite over our small harbour", 0),  # as Tercom, it does not look at case
        ("the red kite over our harbour", 1),
        ("our small harbour the red kite over", 1),
        ("", 7),
        ("one two three four five six seven eight nine", 9),
    ):
        assert ter([hypothesis], reference).value == pytest.approx(100 * edits / 7)


def test_ter_takes_languages_without_spaces_apart_where_bleu_does():
    hypotheses, references = ["今天天气很好"], ["今天天气不好"]
    assert ter(hypotheses, references).value == 100
    for tokenize in ("zh", "char"):
        score = ter(hypotheses, references, tokenize)
        assert score.value == pytest.approx(100 / 6)
        assert "asian:yes" in score.signature


@pytest.mark.parametrize("tokenize", ["zh", "char", "intl", "none"])
def test_bleu_uses_the_tokenizer_asked_for(tokenize: str):
    hypotheses, references = ["今天，天气很好。我们去公园。"], ["今天，天气不好。我们去公园吧。"]
    theirs = sacrebleu.BLEU(tokenize=tokenize)
    score = bleu(hypotheses, references, tokenize)
    assert score.value == theirs.corpus_score(hypotheses, [references]).score
    assert f"tok:{tokenize}" in score.signature


def test_perfect_translations_score_100_and_empty_ones_0():
    assert bleu(REFERENCES, REFERENCES).value == pytest.approx(100)
    assert chrf(REFERENCES, REFERENCES).value == pytest.approx(100)
    empty = [""] * len(REFERENCES)
    assert bleu(empty, REFERENCES).value == chrf(empty, REFERENCES).value == 0
    assert (ter(REFERENCES, REFERENCES).value, ter(empty, REFERENCES).value) == (0, 100)


def test_hostile_lines_are_scored():
    lines = ["", " ", "\0", "\ud800 a", "שלום", "👍🏽 \u2028", "x" * 10_000, "this is the end ."]
    assert bleu(lines, lines).value == pytest.approx(100)
    assert chrf(lines, lines).value == pytest.approx(100)
    assert ter(lines, lines).value == 0
    assert interval(lines, lines).low <= 100


@pytest.mark.parametrize("metric", ["bleu", "chrf", "ter"])
def test_the_interval_contains_the_score_and_is_the_same_every_time(metric: str):
    score = {"bleu": bleu, "chrf": chrf, "ter": ter}[metric](HYPOTHESES, REFERENCES).value
    found = interval(HYPOTHESES, REFERENCES, metric)
    assert found.low < score < found.high
    assert found.high - found.low < 20
    assert found == interval(HYPOTHESES, REFERENCES, metric)


def test_four_times_the_lines_halve_the_interval():
    few, many = (interval(*_corpus(lines, wrong=0.3, seed=4)) for lines in (100, 400))
    assert 1.5 < (few.high - few.low) / (many.high - many.low) < 2.7


def test_the_interval_agrees_with_sacrebleus_own_bootstrap():
    theirs = sacrebleu.BLEU().corpus_score(HYPOTHESES, [REFERENCES], n_bootstrap=1000)
    found = interval(HYPOTHESES, REFERENCES)
    assert (found.high - found.low) / 2 == pytest.approx(theirs._ci, rel=0.15)
    assert (found.high + found.low) / 2 == pytest.approx(theirs._mean, abs=0.5)


def test_equal_systems_differ_by_nothing_and_by_chance():
    result = paired(HYPOTHESES, HYPOTHESES, REFERENCES)
    for difference in (result.bleu, result.chrf, result.ter):
        assert (difference.delta, difference.p_value) == (0, 1)


def test_a_clearly_better_system_is_found_whichever_comes_first():
    better, _ = _corpus(200, wrong=0.1)
    ahead, behind = paired(better, HYPOTHESES, REFERENCES), paired(HYPOTHESES, better, REFERENCES)
    for one, other in ((ahead.bleu, behind.bleu), (ahead.chrf, behind.chrf)):
        assert one.delta > 5
        assert one.p_value < 0.05
        assert (other.delta, other.p_value) == (-one.delta, one.p_value)
    assert ahead.ter.delta < -5  # fewer edits
    assert ahead.ter.p_value < 0.05
    assert behind.ter.delta == -ahead.ter.delta


def test_the_difference_is_that_of_the_scores():
    other, _ = _corpus(200, wrong=0.1)
    result = paired(other, HYPOTHESES, REFERENCES)
    expected = bleu(other, REFERENCES).value - bleu(HYPOTHESES, REFERENCES).value
    assert result.bleu.delta == pytest.approx(expected)
    assert result.chrf.delta == pytest.approx(chrf(other, REFERENCES).value - chrf(HYPOTHESES, REFERENCES).value)


def test_systems_that_differ_by_chance_only_are_rarely_called_different():
    _, references = _corpus(60, wrong=0)
    called = 0
    for seed in range(20):
        choose = random.Random(seed)

        def noisy(line: str, choose: random.Random = choose) -> str:
            return " ".join("wind" if choose.random() < 0.3 else word for word in line.split(" "))

        first, second = ([noisy(line) for line in references] for _ in range(2))
        called += paired(first, second, references).bleu.p_value < 0.05
    assert called <= 4


def test_results_are_the_same_in_another_process():
    script = (
        "from onehop.metrics import interval, paired\n"
        "refs = [f'the kite has {n} tails and turns {n % 7} times' for n in range(40)]\n"
        "one = [r.replace('kite', 'bird') if n % 3 else r for n, r in enumerate(refs)]\n"
        "two = [r.replace('tails', 'wings') if n % 2 else r for n, r in enumerate(refs)]\n"
        "print(interval(one, refs), paired(one, two, refs))"
    )
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    assert b"p_value" in runs[0].stdout


def test_every_line_is_in_the_bucket_of_its_length():
    lengths = [0, 5, 6, 10, 11, 20, 21, 40, 41, 1000]
    buckets = by_length(REFERENCES[:10], REFERENCES[:10], lengths)
    assert [(bucket.low, bucket.high, bucket.lines) for bucket in buckets] == [
        (0, 5, 2),
        (6, 10, 2),
        (11, 20, 2),
        (21, 40, 2),
        (41, None, 2),
    ]


def test_a_buckets_score_is_that_of_its_lines_alone():
    lengths = [3] * 150 + [30] * 50
    short, long = by_length(HYPOTHESES, REFERENCES, lengths)
    assert short.bleu == bleu(HYPOTHESES[:150], REFERENCES[:150])
    assert long.bleu == bleu(HYPOTHESES[150:], REFERENCES[150:])


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("de", "13a"),
        ("zh", "zh"),
        ("zh-Hans", "zh"),
        ("ZH_tw", "zh"),
        ("ja", "char"),
        ("th", "char"),
        ("", "13a"),
    ],
)
def test_scripts_without_spaces_have_their_own_tokenizer(language: str, tokenizer: str):
    assert tokenizer_for(language) == tokenizer
    assert bleu(["a b"], ["a b"], tokenizer_for(language)).signature


@pytest.mark.parametrize(("hypotheses", "references"), [([], []), (["a"], []), ([], ["a"]), (["a", "b"], ["a"])])
def test_counts_that_differ_or_are_zero_are_errors(hypotheses: list[str], references: list[str]):
    lengths = [1] * len(hypotheses)
    for score in (bleu, chrf, interval):
        with pytest.raises(DataError):
            score(hypotheses, references)
    with pytest.raises(DataError):
        paired(hypotheses, hypotheses, references)
    with pytest.raises(DataError):
        by_length(hypotheses, references, lengths)


def test_a_second_system_of_another_size_is_an_error():
    with pytest.raises(DataError, match="1 translations but 2 references"):
        paired(["a", "b"], ["a"], ["a", "b"])


def test_source_lengths_of_another_count_are_an_error():
    with pytest.raises(DataError, match="source lengths"):
        by_length(["a"], ["a"], [1, 2])


def test_an_unknown_tokenizer_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean '13a'"):
        bleu(["a"], ["a"], tokenize="v13a")


def test_importing_the_package_loads_neither_sacrebleu_nor_torch():
    script = "import sys, onehop.metrics; print(sorted({'sacrebleu', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
