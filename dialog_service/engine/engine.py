"""A model packed for replies: contexts to codes, codes to signals, signals to words."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dialog_service.engine.choosers import build_chooser
from dialog_service.engine.kernels import explain_kernels, find_kernels
from dialog_service.engine.precision import resolve_precision
from dialog_service.engine.products import Product, packed
from dialog_service.engine.recurrences import PackedRecurrence
from dialog_service.engine.rows import RowShape, row_shape
from dialog_service.models.matcher import Matcher, text_features
from dialog_service.models.recurrence import State
from dialog_service.models.search import TokenRule
from dialog_service.models.seq2seq import LatentSeq2Seq, ReplyCodes
from dialog_service.vocabulary import BOS, PAD, UNK

# The largest tables of words; a context is read once, and decoded from many times.
_ENCODER_TABLE_BYTES, _DECODER_TABLE_BYTES = 128 * 2**20, 192 * 2**20


class Engine:
    """A packed model; it keeps no state between calls. Use in torch's inference mode."""

    def __init__(self, model: LatentSeq2Seq, *, precision: str, device: torch.device) -> None:
        """Pack a model, which is on its device and in evaluation.

        Raises:
            ConfigError: a precision that the device has not.
        """
        self.precision = resolve_precision(precision, device)
        self.device = device
        self.latent_dim = model.config.latent_dim
        self._vocab_size = model.config.vocab_size
        self._model = model
        # Compiled they are the eight-bit products' alone.
        self.kernels = find_kernels() if self.precision == "int8" else None
        table = model.embedding.weight.detach()
        encoder, decoder = model.encoder, model.decoder
        self._forwards, self._backwards = (
            PackedRecurrence(
                layer, table, self.precision, self.kernels, largest_table=_ENCODER_TABLE_BYTES
            )
            for layer in (encoder.forwards, encoder.backwards)
        )
        self._words = PackedRecurrence(
            decoder.recurrence,
            table,
            self.precision,
            self.kernels,
            largest_table=_DECODER_TABLE_BYTES,
        )
        self._projection: Product | None = None
        if isinstance(decoder.projection, nn.Linear):
            layer = decoder.projection
            self._projection = packed(layer.weight, layer.bias, self.precision, self.kernels)
        self._activation = decoder.activation
        # Padding, unknown and begin are no words.
        bias = decoder.output.bias.detach().clone()
        bias[[PAD, UNK, BOS]] = -torch.inf
        self._chooser = build_chooser(decoder.output.weight, bias, self.precision, self.kernels)
        self._shapes: dict[int, RowShape] = {}
        # Of what the model's own modules multiply, once a context or a draw.
        self._float_shape = row_shape(device, "fp32", ())

    @property
    def arithmetic(self) -> str:
        """In which numbers it multiplies, and by what, for people to read."""
        return f"int8 ({explain_kernels()})" if self.precision == "int8" else self.precision

    @property
    def shape(self) -> RowShape:
        """How many rows to decode at a time.

        Found out at the first use on so many threads: by their number, too, libraries split work.
        """
        threads = torch.get_num_threads()
        if threads not in self._shapes:
            self._shapes[threads] = row_shape(
                self.device, self.precision, self._products(), words=self._vocab_size
            )
        return self._shapes[threads]

    def _products(self) -> Iterator[Product]:
        """All that is multiplied at every step."""
        for layer in (self._forwards, self._backwards, self._words):
            yield from layer.products
        if self._projection is not None:
            yield self._projection
        yield from self._chooser.products

    def codes(self, contexts: Sequence[Sequence[int]]) -> ReplyCodes:
        """What the ids of each of N contexts say of z and of the signal."""
        return self.codes_of(self.states(contexts))

    def codes_of(self, states: Tensor) -> ReplyCodes:
        """The same of contexts with these (N, C) ``states``."""
        return ReplyCodes(*_in_chunks(self._float_shape, self._model.reply_codes, states))

    def states(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """(N, C) what the encoder makes of the ids of texts, at least one each."""
        rows = self.shape.padded(len(texts))
        padded = [*texts, *[[UNK]] * (rows - len(texts))]
        lengths = torch.tensor([len(ids) for ids in padded])
        ids = torch.full((rows, int(lengths.max())), PAD)
        mirrored = ids.clone()
        for row, other, text in zip(ids, mirrored, padded, strict=True):
            row[: len(text)] = torch.tensor(text)
            other[: len(text)] = torch.tensor(text[::-1])
        ids, mirrored, lengths = (part.to(self.device) for part in (ids, mirrored, lengths))
        (encoded,) = _in_chunks(self.shape, lambda *x: (self._encoded(*x),), ids, mirrored, lengths)
        return encoded[: len(texts)]

    @property
    def has_matcher(self) -> bool:
        """Whether the model tells how well a reply fits."""
        return self._model.matcher is not None

    def context_vectors(self, texts: Sequence[Sequence[int]], states: Tensor) -> Tensor:
        """(N, M) of contexts, for ``relevance``, given their ids and their (N, C) ``states``."""
        features = text_features(states, self._model.embedding.weight, texts)
        (vectors,) = _in_chunks(self._float_shape, lambda x: (self._matcher.contexts(x),), features)
        return vectors

    def relevance(self, contexts: Tensor, replies: Sequence[Sequence[int]]) -> Tensor:
        """How well each of N replies fits its context.

        Args:
            contexts: (N, M) vectors.
            replies: ids, at least one each.

        Returns:
            (N,) between 0 and 1.
        """
        matcher = self._matcher
        features = text_features(self.states(replies), self._model.embedding.weight, replies)

        def found(vectors: Tensor, of_replies: Tensor) -> tuple[Tensor]:
            return (matcher.relevance(vectors, matcher.replies(of_replies)),)

        return _in_chunks(self._float_shape, found, contexts, features)[0]

    @property
    def _matcher(self) -> Matcher:
        assert self._model.matcher is not None
        return self._model.matcher

    def _encoded(self, ids: Tensor, mirrored: Tensor, lengths: Tensor) -> Tensor:
        """(N, S) ids, the same from behind, and (N,) lengths -> (N, C) states."""
        longest = int(lengths.max())
        halves = (
            _walked(self._forwards, ids[:, :longest], lengths),
            _walked(self._backwards, mirrored[:, :longest], lengths),
        )
        return torch.cat(halves, dim=1)

    def signals(self, z: Tensor, share: Tensor) -> Tensor:
        """(N, Z) codes and (N, G') shares -> (N, G) signals."""
        (signal,) = _in_chunks(self._float_shape, lambda *x: (self._model.bridge(*x),), z, share)
        return signal

    def start(self, signal: Tensor) -> tuple[Tensor, State]:
        """What decoding begins with, for (N, G) signals.

        Returns:
            (N, GH) the signal's share of the gates at every step, and the state after the first
            input.
        """
        share = self._multiplied(self._words.signal_share, signal)
        state = self._words.start(len(signal))
        if self._model.decoder.is_signal_first_word:
            return share, self._step(
                share + self._multiplied(self._words.word_share, signal), state
            )
        begin = torch.full((len(signal),), BOS, device=signal.device)
        return share, self.advance(begin, share, state)

    def _multiplied(self, product: Product, x: Tensor) -> Tensor:
        (y,) = _in_chunks(self._float_shape, lambda part: (product(part),), x)
        return y

    def advance(self, words: Tensor, share: Tensor, state: State) -> State:
        """The state after (N,) words, with the (N, GH) shares of their signals."""
        return _in_chunks(
            self.shape, lambda w, x, *s: self._words.step(x, w, s), words, share, *state
        )

    def _step(self, share: Tensor, state: State) -> State:
        """The state after an input that has these shares of the gates."""
        return _in_chunks(self.shape, lambda x, *s: self._words.step(x, None, s), share, *state)

    def scores(self, state: State) -> Tensor:
        """Scores of the next word, as the decoder's ``step`` has them.

        Args:
            state: of N rows, an allowed number.

        Returns:
            (N, V) float32, -inf for what is no word.
        """
        return self._chooser.scores(self._features(state), self.shape)

    def choose(
        self, state: State, rule: TokenRule, uniform: Tensor, may_end: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next word of each of N rows and its log-probability, as ``Chooser.choose``."""
        return self._chooser.choose(self._features(state), self.shape, rule, uniform, may_end)

    def _features(self, state: State) -> Tensor:
        """(N, I) what the scores of the next word are made of."""
        features = state[0]
        if self._projection is not None:
            (features,) = _in_chunks(self.shape, self._projected, features)
        activated: Tensor = self._activation(features)
        return activated

    def _projected(self, hidden: Tensor) -> tuple[Tensor]:
        assert self._projection is not None
        return (self._projection(hidden),)


def _in_chunks(
    shape: RowShape, compute: Callable[..., tuple[Tensor, ...]], *parts: Tensor
) -> tuple[Tensor, ...]:
    """What ``compute`` makes of (N, ..) parts, in allowed numbers of rows; N rows of each."""
    count = len(parts[0])
    rows = shape.padded(count)
    if rows == count <= shape.largest:
        return compute(*parts)
    filled = [pad(part, (0, 0) * (part.dim() - 1) + (0, rows - count)) for part in parts]
    found = [compute(*(part[chunk] for part in filled)) for chunk in shape.chunks(rows)]
    return tuple(torch.cat(each)[:count] for each in zip(*found, strict=True))


def _walked(layer: PackedRecurrence, ids: Tensor, lengths: Tensor) -> Tensor:
    """(N, H) hidden states after each row's last word."""
    state = layer.start(len(ids))
    shortest = int(lengths.min())
    for position, words in enumerate(ids.unbind(dim=1)):
        after = layer.step(None, words, state)
        if position < shortest:
            state = after
            continue
        inside = (position < lengths)[:, None]
        state = tuple(torch.where(inside, *pair) for pair in zip(after, state, strict=True))
    return state[0]
