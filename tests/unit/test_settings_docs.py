"""The documentation of settings is that of the models."""

from pathlib import Path

import pytest

from edge import schema, settings_text

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_current():
    assert PAGE.read_text() == settings_text.markdown(), "make it anew: headland settings --markdown > docs/settings.md"


@pytest.mark.parametrize("key", schema.keys().values(), ids=lambda key: key.pattern)
def test_every_key_has_a_sentence(key):
    assert key.sentence.endswith("."), key.pattern


@pytest.mark.parametrize("key", schema.keys().values(), ids=lambda key: key.pattern)
def test_every_number_has_bounds_and_its_default_lies_within(key):
    if key.kind in {"number", "duration", "size"}:
        assert key.range, key.pattern
        assert key.least is not None
        assert key.most is not None
        assert key.least <= key.most


def test_one_table_can_be_asked_for():
    text = settings_text.plain("site.rule")
    assert text.startswith("[[site.rule]]")
    assert "[site.rule.key]" in text
    assert "[cache]" not in text
    assert not settings_text.plain("nothing")
