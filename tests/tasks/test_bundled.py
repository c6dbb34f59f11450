"""The model that ships: it is whole, small, does what it did, says whose text it learned, and translates."""

import pytest

import onehop
from onehop.tasks import bundled, load_package
from onehop.verify import verify
from tests.fixtures.tiny import onehop as command

MODELS = sorted(bundled())


def test_english_to_german_ships():
    assert "en-de" in MODELS


@pytest.mark.parametrize("name", MODELS)
def test_a_bundled_model_is_small_and_names_the_source_and_licence_of_its_text(name):
    package = load_package(name)
    assert package.path is not None
    assert sum(file.stat().st_size for file in package.path.iterdir()) <= 15_000_000
    assert package.drift == ""
    settings = package.translator.settings
    assert settings.license == "CC BY 2.0 FR"
    assert "tatoeba.org" in settings.attribution
    assert settings.license in package.card
    assert settings.attribution in package.card


@pytest.mark.parametrize("name", MODELS)
def test_a_bundled_model_passes_every_check_of_verify(name):
    report = verify(load_package(name))
    assert [check for check in report.checks if check.passed is False] == []


def test_the_bundled_translations_are_german():
    known = {"Where is the station?": "Bahnhof", "I have a dog.": "Hund", "The water is cold.": "Wasser"}
    for found, word in zip(onehop.load("en-de").translate(list(known)), known.values(), strict=True):
        assert word in found.text
    result = command("translate", "en-de", stdin=b"I have a dog.\n\nWhere is the station?\n")
    lines = result.out.splitlines()
    assert ["Hund" in lines[0], lines[1], "Bahnhof" in lines[2]] == [True, "", True]
