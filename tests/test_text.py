"""What a person types, what a model sees of it, and what a person reads in the end."""

import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dialog_service.proper_nouns import PHRASES, WORDS
from dialog_service.text import (
    _CAPITALS,
    _JOINS,
    _SPELT,
    _visible,
    detokenise,
    normalise,
    split_words,
)

TYPED = st.one_of(
    st.text(max_size=12),
    st.text("aistdmnloreve'`.,!?-\"%$()1 20:;/IİßﬁŒ…’—_\t\n", max_size=16),  # noqa: RUF001
)


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("I don't know.", "i do n't know ."),
        ("I don\u2019t know \u2014 sorry\u2026", "i do n't know - sorry ..."),
        ("It' s John' s,  isn ' t it?", "it 's john 's , is n't it ?"),
        ("CAN'T you?!", "ca n't you ? !"),
        ("at 10:30 for 1,500.50", "at 10:30 for 1,500.50"),
        ("5 o'clock, 9 a.m.", "5 o'clock , 9 a.m."),
        ("a well-known e-mail", "a well-known e-mail"),
        ("\ufb01ne \uff28\uff29", "fine hi"),  # ligature and full-width letters
        ("tab\there\nand\u2028there", "tab here and there"),
        ("zero\u200bwidth\x00 \x1b[1m", "zerowidth [ 1 m"),
        ("\ud800lone", "lone"),
        ("", ""),
        (" \t\n", ""),
    ],
)
def test_normalise(typed: str, seen: str) -> None:
    assert normalise(typed) == seen
    assert " ".join(split_words(seen)) == seen


@settings(max_examples=300, deadline=None)
@given(TYPED)
@example("do n't 's ' ll")
@example("1an't")
def test_normalise_is_idempotent_and_leaves_nothing_invisible(typed: str) -> None:
    seen = normalise(typed)
    assert normalise(seen) == seen
    assert all(character == " " or character.isprintable() for character in seen)
    assert "  " not in seen


@settings(max_examples=300, deadline=None)
@given(TYPED)
def test_printable_text_is_kept_as_if_looked_at_by_the_character(typed: str) -> None:
    unprintable = "\x07"  # which leaves no trace, but has every character looked at
    assert normalise(typed) == normalise(typed + unprintable)


def test_no_printable_character_is_white_space_or_goes() -> None:
    for character in map(chr, range(sys.maxunicode + 1)):
        if character.isprintable():
            assert _visible(character) == character


@pytest.mark.parametrize(
    ("seen", "read"),
    [
        ("i do n't know .", "I don't know."),
        ("yes , it 's ok . we 'll see !", "Yes, it's OK. We'll see!"),
        ("is it ? yes ! no ... well , i 'd say so", "Is it? Yes! No... well, I'd say so"),
        ("mr . smith met mrs day at 9 a.m. on friday", "Mr. Smith met Mrs Day at 9 a.m. on Friday"),
        ("at 3 p . m . or 4 p . m", "At 3 p.m. or 4 p.m."),
        ("in the u.s. or the u . s . ?", "In the U.S. or the U.S.?"),
        ("plan b . i know", "Plan b. I know"),
        ("he said , \" come in ! \" and left", 'He said, "Come in!" and left'),
        ("' ' hi ' ' he said", '"Hi" he said'),
        ('" no . " he sat down', '"No." He sat down'),
        ("he calls it ' the thing ' .", "He calls it 'the thing'."),
        ("a mark \" alone", "A mark alone"),
        ("the boys ' room", "The boys' room"),
        ("it 's $ 5.50 , \u00a3 3 or 10 % ( more )", "It's $5.50, \u00a33 or 10% (more)"),
        ("on the 12 th in the 1960 s", "On the 12th in the 1960s"),
        ("a 24 - hour line : 555 - 1234", "A 24-hour line: 555-1234"),
        ("wait - - - what and / or who", "Wait - what and/or who"),
        ("c ' mon , ma ' am", "C'mon, ma'am"),
        ("you 're gonna like new york in may", "You're gonna like New York in May"),
        ("may i mark it ?", "May I mark it?"),
        ("my name is t-i-m", "My name is T-I-M"),
        ("wait . . . what", "Wait... what"),
        (", , well .. sure , , why", "Well... sure, why"),
        ("what ? ! no ! !", "What?! No!!"),
        ("no . . it is ; ; well : : mine", "No. It is; well: mine"),
        ("see dr jekyll or ms hyde at 5 : 30 \u3002", "See Dr Jekyll or Ms Hyde at 5:30."),
        ("5 people came . 3 left", "5 people came. 3 left"),
        ("i.e. i think", "I.e. I think"),
        ("", ""),
        ("?", "?"),
    ],
)  # fmt: skip
def test_detokenise(seen: str, read: str) -> None:
    assert detokenise(seen) == read


@settings(max_examples=300, deadline=None)
@given(TYPED)
def test_detokenised_text_is_spaced_once(typed: str) -> None:
    read = detokenise(normalise(typed))
    assert read == " ".join(read.split(" ")).strip()


@pytest.mark.parametrize(
    ("needed", "pattern"), [rule[:2] for rule in (*_JOINS, *_SPELT, *_CAPITALS)]
)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_what_a_rule_needs_is_in_all_that_it_matches(
    needed: str, pattern: re.Pattern[str], data: st.DataObject
) -> None:
    assert needed in data.draw(st.from_regex(pattern))


def test_every_name_is_written_as_it_is_listed() -> None:
    for name in (*PHRASES, *WORDS.split()):
        assert detokenise(f"so , {name.lower()} !") == f"So, {name}!"


def test_what_is_read_normalises_to_what_the_model_said() -> None:
    toy = Path(__file__).parent / "data/toy/ijcnlp_dailydialog/train/dialogues_train.txt"
    utterances = toy.read_text(encoding="utf-8").replace("\n", " ").split("__eou__")
    assert survivors(utterances) == 1.0


@pytest.mark.corpora
def test_real_talk_survives() -> None:
    if "CORPORA_DIR" not in os.environ:
        pytest.skip("CORPORA_DIR is not set")
    folder = Path(os.environ["CORPORA_DIR"]) / "ijcnlp_dailydialog/test"
    text = (folder / "dialogues_test.txt").read_text(encoding="utf-8")
    assert survivors(text.replace("\n", " ").split("__eou__")) > 0.98


def survivors(utterances: list[str]) -> float:
    """The share of utterances whose model text can be told from what a person reads."""
    seen = [normalise(utterance) for utterance in utterances if utterance.strip()]
    return sum(normalise(detokenise(text)) == text for text in seen) / len(seen)
