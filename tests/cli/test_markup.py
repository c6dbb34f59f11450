import shutil

from tests.fixtures.tiny import onehop


def test_names_that_look_like_markup_are_shown_as_they_are(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "[b]")
    (tmp_path / "pairs.tsv").write_text("One.\tEins.\nTwo.\tZwei.\n")
    (tmp_path / "[i].de").write_text("Eins.\nDrei.\n")
    assert "[b]" in onehop("info", "[b]").out
    assert "[i].de" in onehop("evaluate", "[b]", "--data", "pairs.tsv", "--against", "[i].de").out
