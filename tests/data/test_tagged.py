import gzip
import json

import pytest

from onehop.data.tagged import TagColumns, open_tagged
from onehop.errors import DataError
from tests.fixtures.tagged import meetings, write_conll
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CONLLU = """# text = They don't run.
1\tThey\tthey\tPRON\tPRP\t_\t3\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
3.1\trun\trun\tVERB\t_\t_\t_\t_\t_\t_
4\te. g.\te. g.\tADV\tRB\t_\t3\tadvmod\t_\t_

# sent_id = 2
1\t#\t#\tSYM\tNN\t_\t0\troot\t_\t_
"""


@pytest.fixture(scope="module")
def tagger_run(tmp_path_factory):
    """Return a run of a tiny tagger, with what was told."""
    folder = tmp_path_factory.mktemp("tagger")
    write_conll(folder / "words.conll", meetings(40))
    write_conll(folder / "valid.conll", meetings(20))
    for name, more in (("words.conll", "\n\tO\n\n\u00a0\tO\n"), ("valid.conll", "\n\tO\n")):
        with (folder / name).open("a", encoding="utf-8") as stream:
            stream.write(more)
    done = command(
        "train", "--task", "tag", "--data", folder / "words.conll", "--valid", folder / "valid.conll", "--out",
        folder / "run", *["--set", "train.max_updates=1", "--set", "model.dim=16", "--set", "model.hidden_dim=16"],
    )  # fmt: skip
    assert done.status == 0, done.err
    (folder / "run" / "told.txt").write_text(done.err)
    return folder / "run"


def read(path, **columns):
    return [
        (one.words, one.labels, int(one.where.rpartition(":")[2]))
        for one in open_tagged(path, TagColumns(**columns)).sentences
    ]


def test_columns_by_position_with_blank_lines_of_any_kind(tmp_path):
    file = tmp_path / "a.conll"
    file.write_text("-DOCSTART- O\n\nAda B-person\n# O\n \t\n\n\nIn O\nParis B-place", "utf-8")
    assert read(file) == [(("Ada", "#"), ("B-person", "O"), 3), (("In", "Paris"), ("O", "B-place"), 8)]


def test_conllu_leaves_out_what_is_no_word_and_takes_the_column_that_is_named(tmp_path):
    file = tmp_path / "a.conllu.gz"
    file.write_bytes(gzip.compress(CONLLU.encode()))
    found = read(file)
    assert found[0] == (("They", "do", "n't", "e. g."), ("PRON", "AUX", "PART", "ADV"), 2)
    assert found[1][0] == ("#",)
    assert read(file, labels="xpos")[0][1] == ("PRP", "VBP", "RB", "RB")
    assert read(file, words="LEMMA", labels="4")[0][0] == ("they", "do", "not", "e. g.")


def test_lists_in_json_lines_are_found_by_their_keys(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('\n{"id": "1", "tokens": ["Ada"], "ner_tags": ["B-person"]}\n{"tokens": [], "ner_tags": []}\n')
    assert read(file) == [(("Ada",), ("B-person",), 2)]
    file.write_text(json.dumps({"tokens": ["Ada"], "ner_tags": [1]}))
    with pytest.raises(DataError, match="'ner_tags' is no list of strings") as caught:
        read(file)
    assert "names of labels" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "text", "line", "told"),
    [
        ("a.conll", "Ada\tB-person\nmet\n", 2, "1 columns where the first line has 2"),
        ("a.conll", "Ada B-person\nmet O O\n", 2, "3 columns where the first line has 2"),
        ("a.conllu", "1\tAda\n", 1, "2 columns where the form has 10"),
        ("a.conll", "Ada\n", 1, "one column of words, and none of labels"),
        ("a.conll", "Ada\tO\nmet\t\n", 2, "no label of the word 'met'"),
        ("a.conll", "Ada\tB-person\nmet\tO\rBob\tB-person\n", 2, "a carriage return inside a line"),
        ("a.conllu", "1\tAda\t_\tPROPN\t_\t_\t0\t_\t_\t_\r\r" * 9, 1, "a carriage return inside a line"),
        ("a.jsonl", '{"words": ["a", "b"], "labels": ["O"]}\n', 1, "2 words and 1 labels"),
    ],
)
def test_a_line_that_does_not_fit_is_one_message_with_its_place(tmp_path, name, text, line, told):
    file = tmp_path / name
    file.write_text(text)
    result = command("train", "--task", "tag", "--data", file, "--out", tmp_path / "run")
    refused(result, told, f"{name}:{line}")
    assert not (tmp_path / "run").exists()


def test_line_ends_of_old_macs_are_no_sentence_of_one_word_in_any_command(tmp_path, tagger_run):
    """The whole file was one line: its first word got the last label, `predict` gave one word, and nothing was told."""
    file = tmp_path / "a.conll"
    file.write_bytes(b"Ada\tB-PER\rmet\tO\r\rBob\tB-PER\r")
    told = ("a carriage return inside a line", "tr", "a.conll:1")
    refused(command("data", "check", "--data", file), *told)
    refused(command("predict", tagger_run, file, "--long", "cut"), *told)
    refused(command("evaluate", tagger_run, "--data", file), *told)


def test_sentences_of_empty_words_are_told_where_they_are_left_out(tagger_run):
    """They were left out in silence."""
    told = (tagger_run / "told.txt").read_text()
    assert "data: 2 sentences of nothing but empty words were left out\n" in told
    assert "data: 1 sentences of nothing but empty words of your validation files were left out\n" in told


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    file = tmp_path / "a.conllu"
    file.write_text(CONLLU)
    with pytest.raises(DataError, match="no column 'UPSO'; did you mean"):
        read(file, labels="UPSO")
