"""Token ids for model text: a SentencePiece model, in unigram or word mode.

Text comes in normalised by ``dialog_service.text``; SentencePiece itself normalises nothing, so
that there is one place that does. Fit on training text only.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import sentencepiece

from dialog_service.errors import CheckpointError

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIAL_IDS = (PAD, UNK, BOS, EOS)
VocabularyMode = Literal["unigram", "word"]


class Vocabulary:
    """Model text to ids and back; ids 0 to 3 are padding, unknown, begin and end of sequence."""

    def __init__(self, model_proto: bytes) -> None:
        """Load a serialised SentencePiece model.

        Raises:
            CheckpointError: the bytes are no SentencePiece model, or one with other special ids.
        """
        self.model_proto = model_proto
        if not model_proto:
            raise CheckpointError("not a SentencePiece model: it is empty")
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model_proto)
        except RuntimeError as error:
            raise CheckpointError(f"not a SentencePiece model: {error}") from error
        pieces = self._pieces
        found = (pieces.pad_id(), pieces.unk_id(), pieces.bos_id(), pieces.eos_id())
        if found != SPECIAL_IDS:
            raise CheckpointError(f"special ids are {found}, expected {SPECIAL_IDS}")

    @classmethod
    def fit(cls, texts: Iterable[str], *, size: int, mode: VocabularyMode) -> "Vocabulary":
        """Fit on normalised training texts; fewer than ``size`` entries if the text has fewer.

        Raises:
            RuntimeError: there is no text, or more characters in it than ``size`` has room for.
        """
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=written,
            vocab_size=size,
            model_type=mode,
            hard_vocab_limit=False,
            normalization_rule_name="identity",
            split_by_unicode_script=False,  # keeps clitics whole
            max_sentence_length=2**20,  # bytes; a longer text would be left out
            character_coverage=0.9999,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            num_threads=1,  # more threads make the fit depend on their timing
            minloglevel=2,
        )
        return cls(written.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read ``spm.model``; raises CheckpointError where it is missing or unreadable."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise CheckpointError(f"{path}: {error.strerror}") from error
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def __len__(self) -> int:
        """V, special ids included."""
        return int(self._pieces.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """Ids of one normalised text, without begin or end of sequence."""
        return list(self._pieces.encode(text))

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many normalised texts, in order; the same as ``encode`` on each."""
        return [list(ids) for ids in self._pieces.encode(list(texts))]

    def decode(self, ids: Sequence[int]) -> str:
        """Normalised text of ids; special ids leave no trace."""
        return str(self._pieces.decode([i for i in ids if i not in SPECIAL_IDS]))
