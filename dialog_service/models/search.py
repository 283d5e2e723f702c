"""Greedy and sampled decoding over one decoder step, with randomness that is a pure function.

The randomness of a reply depends on (seed, draw, position) alone: one uniform per token through
the inverse of the cumulative distribution, and Z normals for z. No generator object holds state,
so neither the rows that share a batch nor their order can change a reply.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

_MIX_1, _MIX_2, _GOLDEN = -4658895280553007687, -7723592293110705685, -7046029254386353131
CODE_POSITION = -1
# How many of the best words are looked at first; sorting all V is the dear part of a step, and
# what top_k and top_p leave is nearly always among few.
_LOOKS = (64, 512)
_BLOCKS, _CARDS = 128, 20  # the most parts into which a row of scores is cut


def _shifted(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical, where torch's shift is arithmetic


def _mixed(x: Tensor) -> Tensor:
    """SplitMix64's finaliser (Steele et al. 2014), a bijection of 64-bit integers."""
    x = (x ^ _shifted(x, 30)) * _MIX_1
    x = (x ^ _shifted(x, 27)) * _MIX_2
    return x ^ _shifted(x, 31)


def uniforms(seeds: Tensor, draws: Tensor, position: int | Tensor, width: int = 1) -> Tensor:
    """Uniforms in (0, 1) that are a function of (seed, draw, position, column) alone.

    Each of the four picks one output of the SplitMix64 stream that those before it seed, so none
    can stand in for another: draw 3 of seed 5 is not draw 5 of seed 3.

    Args:
        seeds: (B,) int64.
        draws: (B,) int64, which draw of its request a row is.
        position: decode step, of all or (B,) of each, or ``CODE_POSITION`` for z.
        width: columns W.

    Returns:
        (B, W) float64, odd multiples of 2^-53.
    """
    columns = torch.arange(width, device=seeds.device)
    state = _mixed(seeds + _GOLDEN)
    for part in (draws, torch.zeros_like(draws) + position):
        state = _mixed(state + (part + 2) * _GOLDEN)
    bits = _mixed(state[:, None] + (columns + 1) * _GOLDEN)  # (B, W)
    return (_shifted(bits, 12).double() + 0.5) * 2.0**-52


def normals(seeds: Tensor, draws: Tensor, width: int) -> Tensor:
    """(B, W) float32 standard normals for z, as ``uniforms`` through the inverse normal."""
    drawn: Tensor = torch.special.ndtri(uniforms(seeds, draws, CODE_POSITION, width))
    return drawn.float()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRule:
    """How each row picks a word: (B,) temperature (0 is greedy), top_k (0 is all), top_p."""

    temperature: Tensor  # float32
    top_k: Tensor  # int64
    top_p: Tensor  # float64

    @property
    def is_narrowed(self) -> Tensor:
        """(B,) whether words are left out before one is drawn."""
        return (self.temperature > 0) & ((self.top_k > 0) | (self.top_p < 1))

    def rows(self, kept: Tensor | slice) -> "TokenRule":
        """The rule of some rows: (N,) indices or a slice."""
        return TokenRule(
            temperature=self.temperature[kept], top_k=self.top_k[kept], top_p=self.top_p[kept]
        )


def choose(scores: Tensor, rule: TokenRule, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """The next word of each row and its log-probability; a row's choice depends on it alone.

    Args:
        scores: (B, V) float32, which are used up; -inf for words that may not be produced.
        rule: of B rows.
        uniform: (B,) in (0, 1), used where the temperature is above zero.

    Returns:
        (B,) ids, and (B,) ln p in nats before temperature, top_k and top_p.
    """
    centred = _centre(scores)
    words = _picked(centred, rule, uniform)
    return words, _take_log_probability(centred, words)


def pick(scores: Tensor, rule: TokenRule, uniform: Tensor) -> Tensor:
    """(B,) ids as ``choose`` finds them; the scores are kept."""
    return _picked(_centre(scores.clone()), rule, uniform)


def log_probability(scores: Tensor, words: Tensor) -> Tensor:
    """(B,) ln p in nats of a word of each row, from (B, V) scores, which are kept."""
    return _take_log_probability(_centre(scores.clone()), words)


def _centre(scores: Tensor) -> Tensor:
    """With the best word's score at zero, so that no exponential is too large."""
    return scores.sub_(scores.amax(dim=1, keepdim=True))


def _take_log_probability(centred: Tensor, words: Tensor) -> Tensor:
    chosen = centred.gather(1, words[:, None]).squeeze(1)
    return chosen - centred.exp_().sum(dim=1).log()


def _picked(centred: Tensor, rule: TokenRule, uniform: Tensor) -> Tensor:
    sampled = rule.temperature > 0
    if not sampled.any():
        return _best(centred, rule, uniform)
    narrowed = rule.is_narrowed
    if narrowed.all():
        return _from_best(centred, rule, uniform)
    chosen = torch.empty(len(centred), dtype=torch.int64, device=centred.device)
    kinds = ((~sampled, _best), (sampled & ~narrowed, _from_all), (narrowed, _from_best))
    for rows, find in kinds:
        index = rows.nonzero().squeeze(1)
        if len(index) == 1:
            index = index.expand(2)  # torch splits a lone sum among threads, and adds up otherwise
        if len(index):
            chosen[index] = find(centred[index], rule.rows(index), uniform[index])
    return chosen


def _heated(centred: Tensor, rule: TokenRule) -> Tensor:
    """(B, V) float32 weights of the words at the rows' temperatures, the best word's 1."""
    return centred.div(rule.temperature[:, None]).exp_()


def _inverse(weights: Tensor, uniform: Tensor) -> Tensor:
    """(B, 1) columns at which the cumulative sum of (B, N) weights passes uniform x total."""
    cumulative = weights.cumsum(dim=1, dtype=torch.float64)
    return torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:])


def _inverse_of_many(weights: Tensor, uniform: Tensor) -> Tensor:
    """``_inverse``, of the blocks first, then inside one: far less than N is summed up in order."""
    blocks = _blocks(weights, _BLOCKS)  # (B, parts, N / parts)
    sums = blocks.sum(dim=2).cumsum(dim=1, dtype=torch.float64)  # (B, parts)
    target = uniform[:, None] * sums[:, -1:]
    block = torch.searchsorted(sums, target)  # (B, 1)
    before = sums.gather(1, (block - 1).clamp_min(0)).where(block > 0, 0.0)
    inside = _rows_of(blocks, block).cumsum(dim=1, dtype=torch.float64)
    # Added up in another order, a block's total may come out a hair below what is looked for;
    # the last column that adds anything is meant then.
    target = (target - before).minimum(inside[:, -1:])
    return block * blocks.shape[2] + torch.searchsorted(inside, target)


def _blocks(rows: Tensor, most: int) -> Tensor:
    """(B, N) -> (B, parts, N / parts), of as many equal parts as can be, at most ``most``."""
    blocks: Tensor = rows.unflatten(1, (_parts(rows.shape[1], most), -1))
    return blocks


@functools.cache
def _parts(count: int, most: int) -> int:
    return max(parts for parts in range(1, most + 1) if count % parts == 0)


def _rows_of(blocks: Tensor, block: Tensor) -> Tensor:
    """The (B, M) block of each row of (B, parts, M): (B, 1) which."""
    count, parts, _ = blocks.shape
    places = torch.arange(0, count * parts, parts, device=blocks.device)
    return blocks.flatten(0, 1).index_select(0, places.add_(block.squeeze(1)))


def _best(centred: Tensor, rule: TokenRule, uniform: Tensor) -> Tensor:
    """The word of the highest score; of several, the first.

    Torch finds a maximum ten times faster than its place: so first the best of a few blocks.
    """
    blocks = _blocks(centred, _BLOCKS)
    block = blocks.amax(dim=2).argmax(dim=1, keepdim=True)  # (B, 1)
    inside = _rows_of(blocks, block).argmax(dim=1, keepdim=True)
    return (block * blocks.shape[2] + inside).squeeze(1)


def _from_all(centred: Tensor, rule: TokenRule, uniform: Tensor) -> Tensor:
    return _inverse_of_many(_heated(centred, rule), uniform).squeeze(1)


def _from_best(centred: Tensor, rule: TokenRule, uniform: Tensor) -> Tensor:
    """Among the top_k best words, those that lead up to a mass of top_p (Holtzman et al. 2020)."""
    weights = _heated(centred, rule)
    mass = weights.sum(dim=1)
    chosen = torch.empty(len(centred), dtype=torch.int64, device=centred.device)
    rest = torch.arange(len(centred), device=centred.device)
    for look in (*_LOOKS, centred.shape[1]):
        count = min(look, centred.shape[1])
        best, words = _top(weights, count)
        best = best.double().div_(mass[:, None])
        # With top_k the mass of its words must be known, without it that of all is one.
        enough = torch.where(rule.top_k > 0, rule.top_k <= count, best.sum(1) > rule.top_p)
        enough |= count == centred.shape[1]
        if len(rest) == len(centred) and enough.all():
            return _choose(best, words, rule, uniform)
        settled = rest[enough]
        chosen[settled] = _choose(best[enough], words[enough], rule.rows(enough), uniform[enough])
        if len(settled) == len(rest):
            break
        left = ~enough
        weights, mass, uniform = weights[left], mass[left], uniform[left]
        rest, rule = rest[left], rule.rows(left)
    return chosen


def _top(weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest of each row of (B, N) weights, descending, and their columns, (B, count).

    Columns are dealt into groups as cards are into hands. None of the best is outside the groups
    with the best maxima, and finding these is a pass, where a sort is many.
    """
    hands = _blocks(weights, _CARDS)  # (B, cards, groups)
    groups = hands.shape[2]
    if groups < 2 * count:
        return weights.topk(count, dim=1)
    group = hands.amax(dim=1).topk(count, dim=1, sorted=False).indices  # (B, count)
    index = group[:, None, :].expand(-1, hands.shape[1], -1)
    best, place = hands.gather(2, index).flatten(1).topk(count, dim=1)
    card = place.div(count, rounding_mode="floor")
    return best, card * groups + group.gather(1, place % count)


def _choose(best: Tensor, words: Tensor, rule: TokenRule, uniform: Tensor) -> Tensor:
    """From (B, N) descending probabilities and their words."""
    ranks = torch.arange(best.shape[1], device=best.device)
    limit = torch.where(rule.top_k > 0, rule.top_k, best.shape[1])[:, None]
    inside = best.where(ranks < limit, 0.0)
    # top_p is a share of the mass that top_k left; the word that crosses it is still in.
    before = inside.cumsum(dim=1) - inside
    mass = torch.where(rule.top_k > 0, inside.sum(dim=1), 1.0)
    kept = inside.where(before < (rule.top_p * mass)[:, None], 0.0)
    return words.gather(1, _inverse(kept, uniform)).squeeze(1)
