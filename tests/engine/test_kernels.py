"""The compiled kernels against torch: products of integers, words chosen, recurrent steps."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dialog_service.engine.kernels import (
    CellKind,
    Choice,
    Given,
    Kernels,
    Picking,
    find_kernels,
    pack,
    pack_cell,
)
from dialog_service.engine.kernels.weights import LEVELS, PackedWeights
from dialog_service.models.recurrence import GruRecurrence, LstmRecurrence, Recurrence
from dialog_service.models.search import TokenRule, choose

END, ROWS, WORDS, WIDTH = 3, 45, 1000, 100

pytestmark = pytest.mark.skipif(find_kernels() is None, reason="no kernels for this machine")


@pytest.fixture(params=["AMX", "AVX512-VNNI"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    found = find_kernels()
    assert found is not None
    if request.param == "AMX" and not found.has_tiles:
        pytest.skip("no matrix units")
    return replace(found, has_tiles=request.param == "AMX")


def random_weights(words: int = WORDS, width: int = WIDTH) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    weight, bias = torch.randn(words, width), torch.randn(words)
    bias[:END] = -torch.inf
    return weight, bias


def random_features(rows: int = ROWS, width: int = WIDTH) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(1)).tanh()


def picking(
    rows: int = ROWS, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0
) -> Picking:
    random = torch.Generator().manual_seed(2)
    return Picking(
        heat=torch.full((rows,), 1 / temperature if temperature else 0.0),
        top_k=torch.full((rows,), top_k),
        top_p=torch.full((rows,), top_p, dtype=torch.float64),
        uniform=torch.rand(rows, dtype=torch.float64, generator=random),
        may_end=torch.ones(rows, dtype=torch.bool),
        end_word=END,
    )


def rule_of(how: Picking) -> TokenRule:
    return TokenRule(
        temperature=how.heat.reciprocal().where(how.heat > 0, 0.0),
        top_k=how.top_k,
        top_p=how.top_p,
    )


def some_words(kernels: Kernels, how: Picking, features: Tensor | None = None) -> Choice:
    weights = pack(*random_weights())
    features = random_features(len(how.heat)) if features is None else features
    return kernels.choose_words(weights, features, how, keeps_scores=True)


def kept_scores(kernels: Kernels, weights: PackedWeights, features: Tensor) -> Tensor:
    narrow = picking(len(features), temperature=1, top_k=1)
    scores = kernels.choose_words(weights, features, narrow, keeps_scores=True).scores
    assert scores is not None
    return scores


@pytest.mark.parametrize("rows", [1, 16, 17, 32, 33, 100])
@pytest.mark.parametrize(("words", "width"), [(64, 64), (70, 500), (1000, 30)])
def test_scores_are_exact_sums_of_levels(
    kernels: Kernels, rows: int, words: int, width: int
) -> None:
    weight, bias = random_weights(words, width)
    features = random_features(rows, width)
    found = kept_scores(kernels, pack(weight, bias), features)
    steps, units = (
        part.abs().amax(1, keepdim=True).double() / LEVELS for part in (weight, features)
    )
    levels, inputs = (weight / steps).round(), (features / units).round()
    wanted = (inputs @ levels.T) * units * steps.T + bias
    # An input between two levels may be rounded to either.
    between = ((features / units) % 1 - 0.5).abs() < 1e-4
    assert between.double().mean() < 0.01
    exact = ~between.any(1)
    torch.testing.assert_close(found[exact, :words].double(), wanted[exact], atol=1e-4, rtol=1e-5)
    assert (found[:, words:] == -torch.inf).all()


@pytest.mark.parametrize("rows", [0, 1, 16, 33, 100])
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 3), (64, 64), (100, 500)])
def test_a_product_is_the_scores(kernels: Kernels, rows: int, outputs: int, inputs: int) -> None:
    weights, x = pack(*random_weights(outputs, inputs)), random_features(rows, inputs)
    found = kernels.multiply(weights, x, outputs)
    assert found.shape == (rows, outputs)
    assert torch.equal(found, kept_scores(kernels, weights, x)[:, :outputs])


RULES = [
    {"temperature": 0.0},
    {"temperature": 1.0},
    {"temperature": 0.3},
    {"temperature": 5.0},
    {"temperature": 1e-4},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 3.0, "top_p": 0.999},
    {"temperature": 5.0, "top_p": 0.5},
    {"temperature": 0.5, "top_p": 1e-9},
    {"temperature": 2.0, "top_k": 1},
    {"temperature": 5.0, "top_k": 7},
    {"temperature": 5.0, "top_k": 300},
    {"temperature": 5.0, "top_k": 5000},
    {"temperature": 5.0, "top_k": 50, "top_p": 0.7},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_words_are_those_that_torch_chooses(kernels: Kernels, rule: dict[str, float]) -> None:
    """Of the same scores and uniforms; the last digits of a sum may move one that is on a bound."""
    rows = 400
    how = picking(rows, **rule)  # type: ignore[arg-type]
    features = random_features(rows)
    found = some_words(kernels, how, features)
    scores = kept_scores(kernels, pack(*random_weights()), features)
    words, log_probs = choose(scores.clone(), rule_of(how), how.uniform)
    alike = found.words == words
    assert alike.double().mean() >= 0.995
    torch.testing.assert_close(found.log_probs[alike], log_probs[alike], atol=2e-5, rtol=1e-5)
    own = scores.log_softmax(1).gather(1, found.words[:, None]).squeeze(1)
    torch.testing.assert_close(found.log_probs, own, atol=2e-5, rtol=1e-5)


def test_no_rows_choose_no_words(kernels: Kernels) -> None:
    found = some_words(kernels, picking(rows=0))
    assert found.words.shape == found.log_probs.shape == (0,)


def test_words_come_as_often_as_they_are_likely(kernels: Kernels) -> None:
    """One row over and over, its uniforms spread evenly: shares are the probabilities."""
    rows = 20_000
    features = random_features(1).expand(rows, -1).contiguous()
    how = replace(
        picking(rows, temperature=3.0),
        uniform=(torch.arange(rows, dtype=torch.float64) + 0.5) / rows,
    )
    found = some_words(kernels, how, features)
    wanted = (kept_scores(kernels, pack(*random_weights()), features[:1])[0] / 3).softmax(0)
    shares = found.words.bincount(minlength=len(wanted)) / rows
    assert float((shares - wanted).abs().max()) < 1.5 / rows


def test_what_is_all_but_impossible_is_not_drawn(kernels: Kernels) -> None:
    """A uniform that no sum quite reaches means the last word that adds anything, not the last."""
    how = picking(400, temperature=0.3)
    how.uniform[:] = 1 - 2.0**-53
    features = random_features(400)
    found = some_words(kernels, how, features)
    scores = kept_scores(kernels, pack(*random_weights()), features)
    log_probs = (scores / 0.3).log_softmax(1).gather(1, found.words[:, None])
    least = torch.tensor(2.0**-53).log() * 2  # of a block, and inside that
    assert float(log_probs.min()) > least


def test_rows_have_rules_of_their_own(kernels: Kernels) -> None:
    hows = [picking(ROWS, **rule) for rule in RULES]  # type: ignore[arg-type]
    mixed = Picking(
        **{
            name: torch.stack([getattr(how, name) for how in hows])[
                torch.arange(ROWS) % len(hows), torch.arange(ROWS)
            ]
            for name in ("heat", "top_k", "top_p", "uniform", "may_end")
        },
        end_word=END,
    )
    together = some_words(kernels, mixed)
    for place, how in enumerate(hows):
        mine = torch.arange(ROWS) % len(hows) == place
        assert torch.equal(together.words[mine], some_words(kernels, how).words[mine])


def test_all_instructions_give_the_same_bits() -> None:
    found = find_kernels()
    assert found is not None
    if not found.has_tiles:
        pytest.skip("no matrix units")
    how, cell = picking(temperature=0.7, top_p=0.95), LstmRecurrence(8, 37)
    both = [replace(found, has_tiles=has_tiles) for has_tiles in (True, False)]
    tiles, vectors = (some_words(each, how) for each in both)
    assert all(torch.equal(*pair) for pair in zip(tiles, vectors, strict=True))  # type: ignore[arg-type]
    tiles, vectors = (stepped(each, cell) for each in both)  # type: ignore[assignment]
    assert all(torch.equal(*pair) for pair in zip(tiles, vectors, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_neither_company_nor_threads_change_a_bit(kernels: Kernels, rule: dict[str, float]) -> None:
    how = picking(**rule)  # type: ignore[arg-type]
    together = some_words(kernels, how)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = some_words(kernels, how)
    finally:
        torch.set_num_threads(before)
    for row in (0, 15, 16, 31, 32, 44):
        one = replace(
            how,
            **{
                name: getattr(how, name)[row : row + 1]
                for name in ("heat", "top_k", "top_p", "uniform", "may_end")
            },
        )
        found = some_words(kernels, one, random_features()[row : row + 1])
        for choice in (together, alone):
            assert found.words[0] == choice.words[row]
            assert found.log_probs[0] == choice.log_probs[row]


@pytest.mark.parametrize("rule", [RULES[0], RULES[1], RULES[5], RULES[9]], ids=str)
def test_a_row_that_may_not_end_does_not(kernels: Kernels, rule: dict[str, float]) -> None:
    weight, bias = random_weights()
    bias[END] = 1000.0
    weights = pack(weight, bias)
    how = picking(**rule)  # type: ignore[arg-type]
    assert (
        kernels.choose_words(weights, random_features(), how, keeps_scores=True).words == END
    ).all()
    how.may_end[::2] = False
    found = kernels.choose_words(weights, random_features(), how, keeps_scores=True).words
    assert torch.equal(found == END, how.may_end)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_is_no_word_is_not_chosen(kernels: Kernels, rule: dict[str, float]) -> None:
    weight, bias = random_weights()
    bias[:] = -torch.inf
    bias[[700, 999]] = 0.0
    how = picking(**rule)  # type: ignore[arg-type]
    found = kernels.choose_words(pack(weight, bias), random_features(), how, keeps_scores=True)
    assert ((found.words == 700) | (found.words == 999)).all()
    assert found.log_probs.isfinite().all()


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("number", [torch.nan, torch.inf, 0.0])
def test_numbers_gone_wrong_end_in_some_word(
    kernels: Kernels, rule: dict[str, float], number: float
) -> None:
    how = picking(**rule)  # type: ignore[arg-type]
    found = some_words(kernels, how, torch.full((ROWS, WIDTH), number))
    assert ((found.words >= 0) & (found.words < WORDS)).all()


def stepped(
    kernels: Kernels, layer: Recurrence, given: Given | None = None, rows: int = ROWS
) -> tuple[Tensor, ...]:
    torch.manual_seed(3)
    parts, units = layer.parts, layer.hidden_size
    weight, bias = torch.randn_like(parts.hidden_weight), torch.randn_like(parts.hidden_bias)
    is_lstm = isinstance(layer, LstmRecurrence)
    kind = CellKind.LSTM if is_lstm else CellKind.GRU
    state = tuple(torch.randn(rows, units).tanh() for _ in range(1 + is_lstm))
    packed = pack_cell(weight, bias, gates=len(weight) // units)
    given = given or Given(torch.randn(rows, len(weight)), None, None)
    found = kernels.advance_cells(kind, packed, given, state)
    steps, inputs = (
        part.abs().amax(1, keepdim=True).double() / LEVELS for part in (weight, state[0])
    )
    exact = ((state[0] / inputs).round() @ (weight / steps).round().T) * inputs * steps.T + bias
    wanted = layer.advance(given.total(), exact.float(), state)
    for one, other in zip(found, wanted, strict=True):
        # Half a level of an input, where torch rounds it to the other one.
        torch.testing.assert_close(one, other, atol=0.02, rtol=0)
        assert float((one - other).abs().median()) < 1e-6
    return found


@pytest.mark.parametrize("layer", [LstmRecurrence, GruRecurrence])
@pytest.mark.parametrize("units", [16, 37, 64, 100])
@pytest.mark.parametrize("rows", [1, 31, 45, 64])
def test_a_step_is_the_layers(
    kernels: Kernels, layer: type[LstmRecurrence | GruRecurrence], units: int, rows: int
) -> None:
    stepped(kernels, layer(8, units), rows=rows)


@pytest.mark.parametrize("layer", [LstmRecurrence, GruRecurrence])
def test_a_word_brings_its_row_of_a_table(
    kernels: Kernels, layer: type[LstmRecurrence | GruRecurrence]
) -> None:
    made = layer(8, 40)
    width = len(made.parts.hidden_weight)
    table, words = torch.randn(9, width), torch.randint(9, (ROWS, 2))[:, 0]
    share = torch.randn(ROWS, width)
    for given in (Given(None, table, words), Given(share, table, words)):
        whole = Given(given.total(), None, None)
        pairs = zip(stepped(kernels, made, given), stepped(kernels, made, whole), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


def test_extreme_gates_saturate(kernels: Kernels) -> None:
    units = 16
    weights = pack_cell(torch.zeros(4 * units, units), torch.zeros(4 * units), gates=4)
    state = (torch.zeros(2, units), torch.ones(2, units))
    share = torch.tensor([[1e4], [-1e4]]).expand(2, 4 * units).contiguous()
    hidden, cell = kernels.advance_cells(CellKind.LSTM, weights, Given(share, None, None), state)
    torch.testing.assert_close(cell, torch.tensor([[2.0], [0.0]]).expand(2, units))
    torch.testing.assert_close(hidden[0], torch.full((units,), 2.0).tanh())
    assert (hidden[1].abs() < 1e-6).all()
