"""The matrix products of each operator of a step, from the config and the lengths of a batch."""

from dataclasses import dataclass

from torch import Tensor

from dialog_service.models.config import ModelConfig
from train.benchmark.products import Cell, Product, linear, pairwise, recurrence
from train.config import RunConfig

_GATES = {"lstm": 4, "gru": 3}


@dataclass(frozen=True, slots=True)
class BatchLengths:
    """(B,) real tokens of the contexts and of the responses, end-of-sequence included."""

    contexts: Tensor
    responses: Tensor

    @property
    def rows(self) -> int:
        """B."""
        return len(self.contexts)

    @property
    def response_tokens(self) -> int:
        """Response tokens of the batch."""
        return int(self.responses.sum())

    @property
    def tokens(self) -> int:
        """Context and response tokens of the batch."""
        return int(self.contexts.sum()) + self.response_tokens


def products_of_step(config: RunConfig, lengths: BatchLengths) -> dict[str, tuple[Product, ...]]:
    """By operator, in the order of a step; an operator without products has none."""
    model = config.model
    terms = {term.kind for term in config.objective.terms}
    decoder, words = _decoder(model, lengths), _words(model, lengths)
    match_draws = pairwise(lengths.rows, model.latent_dim) if "mmd" in terms else ()
    work = {
        "encoders": _encoders(model, lengths),
        "code": (*_code(model, lengths.rows), *match_draws),
        "decoder": decoder,
        "words": words,
    }
    if "coupling" in terms:
        work["companion"] = (*_companion_maps(model, lengths.rows), *decoder, *words)
    return work


def _encoders(model: ModelConfig, lengths: BatchLengths) -> tuple[Product, ...]:
    hidden, gates = model.encoder.hidden_size, _GATES[model.encoder.kind]
    cell = Cell(inputs=model.embedding_dim, hidden=hidden, gates=gates)
    read = [lengths.contexts]
    read += [lengths.responses] if model.posterior_sees_response else []
    one_way = tuple(product for text in read for product in recurrence(cell, text))
    return one_way * 2


def _code(model: ModelConfig, rows: int) -> tuple[Product, ...]:
    """Posterior, prior and bridge."""
    context, latent = 2 * model.encoder.hidden_size, model.latent_dim
    match model.posterior.kind:
        case "none":
            posterior: tuple[Product, ...] = ()
        case "dirac":
            posterior = linear(rows, context, latent)
        case "gaussian":
            posterior = linear(rows, _seen_size(model), latent) * 2
    match model.prior.kind:
        case "none" | "standard_normal":
            prior: tuple[Product, ...] = ()
        case "conditional_gaussian":
            prior = linear(rows, context, latent) * 2
    match model.bridge.kind:
        case "every_step":
            bridge: tuple[Product, ...] = ()
        case "first_and_every_step":
            bridge = (*linear(rows, context, model.embedding_dim), *_code_map(model, rows))
    return (*posterior, *prior, *bridge)


def _seen_size(model: ModelConfig) -> int:
    """How wide the state is that the posterior is given."""
    return 2 * model.encoder.hidden_size * (1 + model.posterior_sees_response)


def _code_map(model: ModelConfig, rows: int) -> tuple[Product, ...]:
    """Z -> E -> E, where the bridge has such a map."""
    width, latent = model.embedding_dim, model.latent_dim
    return (*linear(rows, latent, width), *linear(rows, width, width)) if latent else ()


def _companion_maps(model: ModelConfig, rows: int) -> tuple[Product, ...]:
    """The companion's own posterior mean and map of the code."""
    mean = linear(rows, _seen_size(model), model.latent_dim)
    match model.bridge.kind:
        case "every_step":
            return mean
        case "first_and_every_step":
            return (*mean, *_code_map(model, rows))


def _decoder(model: ModelConfig, lengths: BatchLengths) -> tuple[Product, ...]:
    """The recurrence, and the layer between it and the words."""
    decoder = model.decoder
    match model.bridge.kind:
        case "every_step":
            signal = model.latent_dim
        case "first_and_every_step":
            signal = model.embedding_dim
    cell = Cell(
        inputs=model.embedding_dim + signal,
        hidden=decoder.hidden_size,
        gates=_GATES[decoder.kind],
    )
    steps = recurrence(cell, lengths.responses)
    width = _projection_size(model)
    tokens = lengths.response_tokens
    return (*steps, *linear(tokens, decoder.hidden_size, width)) if width else steps


def _projection_size(model: ModelConfig) -> int | None:
    """How wide the layer between the hidden state and the words is, if there is one."""
    match model.decoder.kind:
        case "lstm":
            return model.embedding_dim if model.decoder.tied_output else None
        case "gru":
            return model.decoder.projection_size


def _words(model: ModelConfig, lengths: BatchLengths) -> tuple[Product, ...]:
    width = _projection_size(model) or model.decoder.hidden_size
    return linear(lengths.response_tokens, width, model.vocab_size)
