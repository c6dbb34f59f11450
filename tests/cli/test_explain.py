import pytest

from tests.fixtures.tiny import onehop, refused


def test_a_page_is_written_and_standard_output_stays_empty(trained, tmp_path):
    result = onehop("explain", trained, "-o", tmp_path / "page.html", stdin=b"One Two. Three.\n\n<b>Four</b>.\n")
    assert (result.status, result.raw) == (0, b"")
    assert "3 lines" in result.err
    html = (tmp_path / "page.html").read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert "&lt;b&gt;Four&lt;/b&gt;." in html
    assert "decoder.0.cross" in html
    assert "encoder.0.self" not in html


def test_layers_are_chosen_by_name(trained, tmp_path):
    onehop("explain", trained, "-o", tmp_path / "page.html", "--layer", "encoder.*", stdin=b"One.\n")
    assert "encoder.0.self" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize("limit", ["lines", "weights"])
def test_what_a_page_does_not_hold_is_told(trained, tmp_path, monkeypatch, limit):
    options = ["--lines", "2"] if limit == "lines" else []
    if limit == "weights":
        monkeypatch.setattr("onehop.cli.explain.MOST", 150)
    result = onehop("explain", trained, "-o", tmp_path / "page.html", *options, stdin=b"One Two.\n" * 5)
    html = (tmp_path / "page.html").read_text("utf-8")
    shown = html.count("<article")
    assert 1 <= shown < 5
    told = f"The first {shown} lines of standard input; the others are left out"
    assert told in result.err
    assert told in html


def test_what_cannot_be_explained_is_refused(trained, tmp_path):
    refused(onehop("explain", trained, stdin=b"One.\n"), "no page to write to")
    page = tmp_path / "page.html"
    refused(
        onehop("explain", trained, "-o", page, "--layer", "decoder.9.*", stdin=b"One.\n"), "no attention 'decoder.9.*'"
    )
    refused(onehop("explain", trained, "-o", page, stdin=b"Two " * 100), "standard input:1")
    assert not page.exists()
