"""Text to ids and back, in both modes, and model files that are no use."""

from pathlib import Path

import pytest
import sentencepiece

from dialog_service.errors import CheckpointError
from dialog_service.text import normalise
from dialog_service.vocabulary import BOS, EOS, PAD, SPECIAL_IDS, UNK, Vocabulary, VocabularyMode

WORDS = (("the train", "my sister", "our teacher", "the soup"), ("was", "is n't", "seems", "'s"))
TEXTS = [f"{who} {how} {what} ." for who in WORDS[0] for how in WORDS[1] for what in ("late", "ok")]
MODES: tuple[VocabularyMode, ...] = ("unigram", "word")


@pytest.fixture(scope="module", params=MODES)
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return Vocabulary.fit(TEXTS, size=60, mode=request.param)


def test_known_text_survives_the_round_trip(vocabulary: Vocabulary) -> None:
    for text in TEXTS[::5]:
        ids = vocabulary.encode(text)
        assert not set(ids) & set(SPECIAL_IDS)
        assert vocabulary.decode(ids) == text


def test_special_ids_leave_no_trace(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("the soup")
    assert vocabulary.decode([BOS, UNK, *ids, EOS, PAD, PAD]) == "the soup"
    assert vocabulary.decode([UNK, EOS]) == ""


def test_many_texts_are_encoded_as_each_alone(vocabulary: Vocabulary) -> None:
    texts = [*TEXTS[:5], "", "quite unheard of"]
    assert vocabulary.encode_all(texts) == [vocabulary.encode(text) for text in texts]


def test_text_cannot_say_a_special_token(vocabulary: Vocabulary) -> None:
    for said in ("<s>", "</s>", "<pad>", "\u2581"):
        for text in (said, normalise(said)):
            assert not set(vocabulary.encode(text)) & {PAD, BOS, EOS}


def test_what_was_not_in_the_text_is_unknown(vocabulary: Vocabulary) -> None:
    assert UNK in vocabulary.encode("\u9f8d")


def test_words_are_whole_in_word_mode() -> None:
    vocabulary = Vocabulary.fit(["do n't go ."] * 3, size=50, mode="word")
    assert len(vocabulary) == len(SPECIAL_IDS) + 4  # fewer entries than asked for
    assert len(vocabulary.encode("go do n't")) == 3
    assert vocabulary.encode("going") == [UNK]


def test_sentencepiece_normalises_nothing() -> None:
    texts = ["\uff28\uff29 caf\u00e9", "\ufb01ne  two spaces"] * 3
    vocabulary = Vocabulary.fit(texts, size=60, mode="unigram")
    assert vocabulary.decode(vocabulary.encode("\uff28\uff29")) == "\uff28\uff29"
    assert UNK in vocabulary.encode("HI")


def test_a_fit_depends_on_the_text_alone_and_long_texts_count() -> None:
    texts = [*TEXTS, "zebra " * 2000]
    once, again = (Vocabulary.fit(texts, size=80, mode="unigram") for _ in range(2))
    assert once.model_proto == again.model_proto
    assert UNK not in once.encode("zebra")


def test_a_fit_that_cannot_be() -> None:
    with pytest.raises(RuntimeError, match="smaller than required_chars"):
        Vocabulary.fit(TEXTS, size=6, mode="unigram")


def test_a_file_keeps_the_vocabulary(vocabulary: Vocabulary, tmp_path: Path) -> None:
    (tmp_path / "spm.model").write_bytes(vocabulary.model_proto)
    loaded = Vocabulary.load(tmp_path / "spm.model")
    assert len(loaded) == len(vocabulary)
    assert loaded.encode("the train was late") == vocabulary.encode("the train was late")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "it is empty"), (b"\x00junk", "not a SentencePiece model"), (None, "No such file")],
)
def test_a_useless_file_is_named(content: bytes | None, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "spm.model"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=complaint) as caught:
        Vocabulary.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_other_special_ids_are_refused(tmp_path: Path) -> None:
    prefix = tmp_path / "foreign"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(prefix),
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
    )  # its own ids: no padding, unknown 0, begin 1, end 2
    with pytest.raises(CheckpointError, match=r"special ids are \(-1, 0, 1, 2\), expected \(0, 1"):
        Vocabulary.load(prefix.with_suffix(".model"))
