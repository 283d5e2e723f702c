"""Random numbers that are a pure function of their place, and how a word is picked with them."""

import math

import pytest
import torch
from torch import Tensor

from dialog_service.models.search import (
    CODE_POSITION,
    TokenRule,
    choose,
    log_probability,
    normals,
    pick,
    uniforms,
)

N = 200_000


def drawn(seeds: Tensor, draws: Tensor, position: int, width: int = 1) -> Tensor:
    return uniforms(*torch.broadcast_tensors(seeds, draws), position, width)


def deviation_from_uniform(values: Tensor) -> float:
    """Kolmogorov-Smirnov's sqrt(n) D; above 1.95 once in a thousand."""
    ordered = values.flatten().sort().values
    n = len(ordered)
    ranks = torch.arange(n, dtype=torch.float64) / n
    above, below = (ordered - ranks).max(), (ranks + 1 / n - ordered).max()
    return math.sqrt(n) * float(torch.maximum(above, below))


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


COUNT, ZERO, SEED = torch.arange(N), torch.tensor(0), torch.tensor(42)
SERIES = {
    "seeds": drawn(COUNT, ZERO, 0),
    "draws": drawn(SEED, COUNT, 0),
    "positions": torch.cat([drawn(SEED, torch.arange(500), p) for p in range(400)]),
    "columns": drawn(SEED, torch.arange(1000), CODE_POSITION, 200),
    "large seeds": drawn(2**63 - 1 - COUNT, ZERO, 3),
}
each_series = pytest.mark.parametrize("series", SERIES.values(), ids=list(SERIES))


@each_series
def test_uniforms_are_uniform(series: Tensor) -> None:
    assert deviation_from_uniform(series) < 1.95
    assert series.min() > 0
    assert series.max() < 1


@each_series
def test_neighbours_do_not_correlate(series: Tensor) -> None:
    flat = series.flatten()
    for lag in (1, 2, 500):
        assert abs(correlation(flat[:-lag], flat[lag:])) < 5 / math.sqrt(N)


@each_series
def test_pairs_of_neighbours_fill_the_square(series: Tensor) -> None:
    pairs = series.flatten()[: N - N % 2].view(-1, 2)
    cells = (pairs * 16).long() @ torch.tensor([16, 1])
    expected = len(pairs) / 256
    chi_square = float(((cells.bincount(minlength=256) - expected) ** 2 / expected).sum())
    assert abs(chi_square - 255) < 4 * math.sqrt(2 * 255)


@each_series
def test_no_two_places_share_a_number(series: Tensor) -> None:
    assert series.unique().numel() == series.numel()


def test_seeds_draws_and_positions_do_not_change_places() -> None:
    seeds, draws = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    by_position = [uniforms(seeds.flatten(), draws.flatten(), p) for p in range(-1, 39)]
    assert torch.stack(by_position).unique().numel() == 40**3


def test_a_number_depends_on_its_own_place_alone() -> None:
    seeds, draws = torch.tensor([7, 2**62, 0]), torch.tensor([0, 3, 45])
    together = uniforms(seeds, draws, 12, 4)
    alone = [uniforms(seeds[i : i + 1], draws[i : i + 1], 12, 4) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together[:, :2], uniforms(seeds, draws, 12, 2))
    torch.manual_seed(1)
    assert torch.equal(together, uniforms(seeds, draws, 12, 4))


def test_the_numbers_stay_what_they_are() -> None:
    # Computed apart from the code with Python's integers, so that stored seeds keep their replies.
    found = uniforms(torch.tensor([0, 5, 2**63 - 1]), torch.tensor([0, 3, 7]), 2, 2)
    wanted = [[reference(s, d, 2, c) for c in (0, 1)] for s, d in ((0, 0), (5, 3), (2**63 - 1, 7))]
    assert found.tolist() == wanted


def reference(seed: int, draw: int, position: int, column: int) -> float:
    """Each place picks an output of the SplitMix64 stream that the places before it seed."""
    word, golden = 2**64, 0x9E3779B97F4A7C15

    def mixed(x: int) -> int:
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % word
        x = (x ^ x >> 27) * 0x94D049BB133111EB % word
        return x ^ x >> 31

    state = mixed((seed + golden) % word)
    for place in (draw + 2, position + 2, column + 1):
        state = mixed((state + place * golden) % word)
    return ((state >> 12) + 0.5) / 2**52


def test_normals_are_normal() -> None:
    values = normals(torch.arange(2000), torch.zeros(2000, dtype=torch.int64), 100).double()
    assert values.shape == (2000, 100)
    assert deviation_from_uniform(torch.special.ndtr(values)) < 1.95
    assert abs(correlation(values[:, :-1], values[:, 1:])) < 5 / math.sqrt(N)


def rule(rows: int, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> TokenRule:
    return TokenRule(
        temperature=torch.full((rows,), temperature),
        top_k=torch.full((rows,), top_k),
        top_p=torch.full((rows,), top_p, dtype=torch.float64),
    )


def nucleus(scores: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """(V,) probabilities by the book: the best words, one after the other, zero for the rest."""
    heated = (scores.double() / temperature).softmax(0)
    order = heated.argsort(descending=True).tolist()[: top_k or None]
    goal = top_p * float(heated[order].sum())
    kept, mass = order[:1], float(heated[order[0]])
    for word in order[1:]:
        if mass >= goal:
            break
        kept.append(word)
        mass += float(heated[word])
    picked = torch.zeros_like(heated)
    picked[kept] = heated[kept]
    return picked / picked.sum()


RULES = [
    (1.0, 0, 1.0),
    (0.5, 0, 1.0),
    (1.0, 5, 1.0),
    (1.0, 0, 0.6),
    (2.5, 0, 0.95),
    (1.0, 9, 0.7),
    (1.7, 100, 0.9),
    (1.0, 1, 1.0),
    (1.0, 0, 1e-6),
    (1.0, 10_000, 0.5),
]


def even(count: int) -> Tensor:
    """Evenly spaced numbers in (0, 1)."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


@pytest.mark.parametrize("words", [8, 40, 700])
@pytest.mark.parametrize(("temperature", "top_k", "top_p"), RULES)
def test_words_are_picked_as_often_as_they_should(
    words: int, temperature: float, top_k: int, top_p: float
) -> None:
    """Evenly spaced numbers pick each word in proportion, to within one of them."""
    scores = 2 * torch.randn(words, generator=torch.Generator().manual_seed(words))
    asked = rule(1000, temperature=temperature, top_k=top_k, top_p=top_p)
    picked = pick(scores.expand(1000, -1), asked, even(1000))
    shares = picked.bincount(minlength=words).double() / 1000
    wanted = nucleus(scores, temperature, top_k, top_p)
    torch.testing.assert_close(shares, wanted, atol=1.01 / 1000, rtol=0)
    assert not shares[wanted == 0].any()


@pytest.mark.parametrize("top_p", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("top_k", [60, 300, 600, 5000, 0])
def test_a_wide_nucleus_has_exactly_its_words(top_k: int, top_p: float) -> None:
    """Flat scores over many words: more are in than are looked at first, and at second."""
    scores = torch.randn(3000, generator=torch.Generator().manual_seed(1)) / 4
    wanted = nucleus(scores, 1.0, top_k, top_p)
    best = wanted.argsort(descending=True)
    cumulative = wanted[best].cumsum(0)
    u = torch.cat([even(20), torch.tensor([1e-9, 1 - 1e-9], dtype=torch.float64)])
    picked = pick(scores.expand(len(u), -1), rule(len(u), top_k=top_k, top_p=top_p), u)
    assert torch.equal(picked, best[torch.searchsorted(cumulative, u)])


@pytest.mark.parametrize("words", [20_000, 6000, 4001])
def test_of_many_words_the_one_at_the_number_s_place_is_picked(words: int) -> None:
    """Sampling from all: the distribution function, summed up word by word, passes u there."""
    scores = 3 * torch.randn(words, generator=torch.Generator().manual_seed(words))
    scores[::2] = -torch.inf
    scores[-words // 10 :] = -torch.inf  # the last blocks hold nothing
    u = torch.cat([even(500), torch.tensor([1e-16, 1 - 1e-16], dtype=torch.float64)])
    picked = pick(scores.expand(len(u), -1), rule(len(u)), u)
    mass = scores.double().softmax(0)
    upper = mass.cumsum(0)
    assert (mass[picked] > 0).all()
    assert (upper[picked] > u - 1e-6).all()
    assert (upper[picked] - mass[picked] < u + 1e-6).all()


@pytest.mark.parametrize("top_k", [0, 3])
def test_forbidden_words_are_never_picked(top_k: int) -> None:
    scores = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    scores[:, :4] = -torch.inf
    scores[2, 5:] = -torch.inf  # one word is left
    for u in (1e-16, 0.5, 1 - 1e-16):
        picked = pick(scores, rule(5, top_k=top_k), torch.full((5,), u, dtype=torch.float64))
        assert picked.min() >= 4
        assert picked[2] == 4


def test_temperature_zero_top_k_one_and_a_tiny_nucleus_are_greedy() -> None:
    scores = torch.randn(50, 600, generator=torch.Generator().manual_seed(0))
    best = scores.argmax(1)
    u = uniforms(torch.arange(50), torch.zeros(50, dtype=torch.int64), 0)[:, 0]
    for asked in (
        rule(50, temperature=0.0, top_k=9, top_p=0.5),
        rule(50, temperature=5.0, top_k=1),
        rule(50, top_p=1e-9),
        rule(50, temperature=1e-3),
        rule(50, temperature=1e-44),
    ):
        assert torch.equal(pick(scores, asked, u), best)


def test_a_row_s_word_is_its_own_in_any_company() -> None:
    """Rows of every kind of rule, together, alone and in reverse."""
    rows = 64
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(rows, 900, generator=generator) * torch.rand(rows, 1, generator=generator)
    mixed = TokenRule(
        temperature=torch.arange(rows) % 3 * 0.7,
        top_k=torch.tensor([0, 5, 0, 200, 700])[torch.arange(rows) % 5],
        top_p=torch.tensor([1.0, 0.9, 0.3, 0.99], dtype=torch.float64)[torch.arange(rows) % 4],
    )
    u = uniforms(torch.arange(rows), torch.zeros(rows, dtype=torch.int64), 0)[:, 0]
    together = pick(scores, mixed, u)
    alone = [
        pick(scores[i : i + 1], mixed.rows(slice(i, i + 1)), u[i : i + 1]) for i in range(rows)
    ]
    assert torch.equal(together, torch.cat(alone))
    back = torch.arange(rows).flip(0)
    assert torch.equal(together[back], pick(scores[back], mixed.rows(back), u[back]))


@pytest.mark.parametrize("words", [6000, 4001, 49, 50, 7])
def test_the_best_word_is_the_first_of_the_best(words: int) -> None:
    scores = torch.randint(0, 5, (64, words), generator=torch.Generator().manual_seed(3)).float()
    scores[:, :3] = -torch.inf
    u = torch.full((64,), 0.5, dtype=torch.float64)
    assert torch.equal(pick(scores, rule(64, temperature=0.0), u), scores.argmax(1))


@pytest.mark.parametrize("words", [8000, 20_000])
def test_a_nucleus_of_many_words_is_the_sorted_one(words: int) -> None:
    """Where the best are found without sorting all, they are the same, in the same order."""
    scores = 4 * torch.randn(40, words, generator=torch.Generator().manual_seed(words))
    u = even(40)
    picked = pick(scores, rule(40, temperature=0.6, top_p=0.9), u)
    for row, word, number in zip(scores, picked.tolist(), u, strict=True):
        wanted = nucleus(row, 0.6, 0, 0.9)
        best = wanted.argsort(descending=True)
        assert word == best[torch.searchsorted(wanted[best].cumsum(0), number)]


def test_log_probabilities_are_the_softmax_s_even_of_the_least_likely() -> None:
    scores = 60 * torch.randn(8, 3000, generator=torch.Generator().manual_seed(2))
    scores[:, :9] = -torch.inf
    for words in (scores.argmax(1), scores[:, 9:].argmin(1) + 9):
        wanted = scores.double().log_softmax(1)[torch.arange(8), words]
        found = log_probability(scores, words)
        torch.testing.assert_close(found.double(), wanted)


def test_a_choice_is_the_pick_and_its_log_probability_whatever_the_temperature() -> None:
    scores = 5 * torch.randn(9, 640, generator=torch.Generator().manual_seed(3))
    scores[:, 5] = -torch.inf
    mixed = TokenRule(
        temperature=torch.tensor([0.0, 0.0, 0.0, 0.7, 0.7, 1.3, 1.0, 0.7, 0.01]),
        top_k=torch.tensor([0, 0, 5, 0, 0, 0, 0, 30, 0]),
        top_p=torch.tensor([1.0, 0.9, 1.0, 1.0, 0.9, 0.8, 1.0, 1.0, 1.0], dtype=torch.float64),
    )
    words, log_probs = choose(scores.clone(), mixed, even(9))
    assert torch.equal(words, pick(scores, mixed, even(9)))
    wanted = scores.double().log_softmax(1).gather(1, words[:, None]).squeeze(1)
    torch.testing.assert_close(log_probs.double(), wanted, atol=1e-5, rtol=1e-5)


def test_a_lone_row_among_others_of_another_kind_is_picked_for_as_among_its_own() -> None:
    """Where top_p cuts exactly at a word, the last bit of the mass of all words decides."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # torch would split one long sum between them, and not eight
    try:
        scores = torch.randn(8, 40_000, generator=torch.Generator().manual_seed(4))
        for row in range(8):
            mine = scores[row].expand(8, -1)
            best = (mine - mine.amax(1, keepdim=True)).exp_()
            top = best[0].topk(20).values.double() / best.sum(1)[0]
            alike = rule(8, top_p=float(top.sum()))
            mixed = TokenRule(
                temperature=torch.tensor([1.0] + 7 * [0.0]), top_k=alike.top_k, top_p=alike.top_p
            )
            high = torch.full((8,), 1 - 1e-9, dtype=torch.float64)
            assert pick(mine, mixed, high)[0] == pick(mine, alike, high)[0]
    finally:
        torch.set_num_threads(before)
