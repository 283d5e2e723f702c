"""What a matcher learns from: features of texts by the model's own encoder, and which belong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dialog_service.checkpoint import Checkpoint
from dialog_service.generation import context_ids
from dialog_service.models.matcher import text_features
from dialog_service.models.seq2seq import LatentSeq2Seq
from dialog_service.text import normalise
from dialog_service.vocabulary import UNK, Vocabulary
from train.data.pairs import Pair

_BATCH = 256  # texts encoded at once
_Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Features (U, F) of different texts, and the places of N pairs' texts among them.

    ``posts`` are the contexts' last turns by themselves, which as replies would be an echo.
    """

    features: Tensor
    contexts: Tensor  # (N,)
    posts: Tensor  # (N,)
    replies: Tensor  # (N,)

    def __len__(self) -> int:
        """N."""
        return len(self.contexts)


def read_material(checkpoint: Checkpoint, pairs: Sequence[Pair], console: Console) -> Material:
    """Encode the texts of some pairs as the service will, behind a bar.

    Args:
        checkpoint: whose encoder reads; in evaluation.
        pairs: at least one.
        console: for the bar.
    """
    model, vocabulary = checkpoint.model, checkpoint.vocabulary
    places: dict[_Ids, int] = {}

    def placed(texts: Iterator[_Ids]) -> Tensor:
        return torch.tensor([places.setdefault(ids, len(places)) for ids in texts])

    contexts = placed(_context(pair.context, checkpoint) for pair in pairs)
    posts = placed(_ids(vocabulary, pair.context[-1]) for pair in pairs)
    replies = placed(_ids(vocabulary, pair.response) for pair in pairs)
    return Material(
        features=_encoded(model, list(places), console),
        contexts=contexts,
        posts=posts,
        replies=replies,
    )


def _context(turns: Sequence[str], checkpoint: Checkpoint) -> _Ids:
    said = [checkpoint.vocabulary.encode(normalise(turn)) for turn in turns]
    return tuple(context_ids(said, checkpoint.model.config))


def _ids(vocabulary: Vocabulary, text: str) -> _Ids:
    return tuple(vocabulary.encode(normalise(text))) or (UNK,)


@torch.inference_mode()
def _encoded(model: LatentSeq2Seq, texts: Sequence[_Ids], console: Console) -> Tensor:
    """(U, F) of the ids of U texts, those of like length together."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    parts = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    size = model.encoder.output_size + model.config.embedding_dim
    found = torch.empty(len(texts), size)
    for part in track(parts, "matcher: reading", console=console):
        found[torch.tensor(part)] = _features(model, [texts[place] for place in part])
    return found


def _features(model: LatentSeq2Seq, texts: Sequence[_Ids]) -> Tensor:
    lengths = torch.tensor([len(ids) for ids in texts])
    ids = pad_sequence([torch.tensor(each) for each in texts], batch_first=True)  # (B, S)
    states = model.encoder(model.embedding(ids), lengths)  # (B, C)
    return text_features(states, model.embedding.weight, texts)
