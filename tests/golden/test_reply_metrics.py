"""Figures of small sets of replies, recomputed here from the definitions and, some, by hand."""

import math
from collections import Counter

import pytest

from train.metrics.overlap import BleuCounts
from train.metrics.scoring import Case, RowScorer
from train.metrics.unigrams import Unigrams
from train.metrics.variety import expectation_adjusted_distinct

CORPUS = ("i am here .", "it is fine .", "it is fine .", "yes , you are .")

HELD = (
    ("how are you ?", "i am fine , thank you .", ["i am fine .", "fine , thank you .", "fine ."]),
    ("where is it ?", "it is on the table .", ["on the table .", "it is on the table .", "there"]),
    ("are you sure ?", "yes .", ["yes .", "yes .", "yes ."]),
    ("are you there ?", "yes , i am here .", ["yes", "no", "yes"]),
    ("who is it ?", "it is me", ["", "it is me", "it is it is it"]),
    ("what is this ?", "that is a very long answer , is it not ?", ["x y z", "that is", "a b"]),
)
DEGENERATE = {
    "empty": [("a b", "c d", ["", ""])],
    "identical": [("a", "b c d e", ["b c d e", "b c d e"]), ("a", "b c d e", ["b c d e"] * 2)],
    "one token": [("a", "b", ["b", "b"]), ("a", "c", ["b", "c"])],
    "nothing shared": [("a", "b c d e", ["f g h i", "j k l m"])],
}
SETS = {"held": HELD, **DEGENERATE}


def grams(words: list[str], n: int) -> list[str]:
    return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]


def clipped(words: list[str], references: list[list[str]], n: int) -> int:
    counts = Counter(grams(words, n))
    allowed = [Counter(grams(reference, n)) for reference in references]
    return sum(min(c, max(a[g] for a in allowed)) for g, c in counts.items())


def brevity(length: int, reference: int) -> float:
    if length == 0:
        return 0.0
    return 1.0 if length >= reference else math.exp(1 - reference / length)


def corpus_bleu(pairs: list[tuple[list[str], list[str]]], order: int) -> float:
    product = 1.0
    for n in range(1, order + 1):
        total = sum(len(grams(reply, n)) for reply, _ in pairs)
        product *= sum(clipped(reply, [ref], n) for reply, ref in pairs) / total if total else 0
    penalty = brevity(sum(len(r) for r, _ in pairs), sum(len(r) for _, r in pairs))
    return 100 * penalty * product ** (1 / order)


def sentence_bleu(words: list[str], references: list[list[str]], order: int) -> float:
    if not clipped(words, references, 1):
        return 0.0
    precisions = []
    for n in range(1, min(order, len(words)) + 1):
        matches, total = clipped(words, references, n), len(grams(words, n))
        precisions.append(matches / total if matches else 1 / (total + 1))
    closest = min((abs(len(r) - len(words)), len(r)) for r in references)[1]
    return brevity(len(words), closest) * math.prod(precisions) ** (1 / len(precisions))


def self_bleu(pool: list[list[str]], order: int) -> float:
    scores = [sentence_bleu(r, pool[:i] + pool[i + 1 :], order) for i, r in enumerate(pool)]
    return sum(scores) / len(scores)


def dist(replies: list[list[str]], n: int) -> float:
    found = [gram for reply in replies for gram in grams(reply, n)]
    return len(set(found)) / len(found) if found else 0.0


def entropy(replies: list[list[str]]) -> float:
    counts = Counter(word for reply in replies for word in reply)
    total = sum(counts.values())
    return -sum(c / total * math.log(c / total) for c in counts.values())


def ead(replies: list[list[str]], n: int) -> float:
    found = [gram for reply in replies for gram in grams(reply, n)]
    if not found:
        return 0.0
    return len(set(found)) / (20_000 * (1 - (19_999 / 20_000) ** len(found)))


def uni_kl(replies: list[list[str]]) -> float:
    """Words that the corpus lacks count as a hundredth of one."""
    words = [word for reply in replies for word in reply]
    corpus = [word for text in CORPUS for word in text.split()]
    mass = len(corpus) + 0.01 * (len(set(corpus)) + 1)
    divergence = 0.0
    for word in set(words):
        p, q = words.count(word) / len(words), (corpus.count(word) + 0.01) / mass
        divergence += p * math.log(p / q)
    return divergence


def coverage(replies: list[list[str]]) -> float:
    words = [word for reply in replies for word in reply]
    known = set(" ".join(CORPUS).split())
    return sum(word in known for word in words) / len(words) if words else 0.0


def recomputed(rows) -> dict[str, float]:
    pools = [[reply.split() for reply in replies] for _, _, replies in rows]
    firsts = [pool[0] for pool in pools]
    pairs = [(first, row[1].split()) for first, row in zip(firsts, rows, strict=True)]

    def mean(values) -> float:
        values = list(values)
        return sum(values) / len(values)

    overlaps = [
        [sentence_bleu(reply, [row[1].split()], 2) for reply in pool]
        for pool, row in zip(pools, rows, strict=True)
    ]

    return {
        "bleu_2": corpus_bleu(pairs, 2),
        "bleu_4": corpus_bleu(pairs, 4),
        "entropy": entropy(firsts),
        "dist_1": dist(firsts, 1),
        "dist_2": dist(firsts, 2),
        "ead_1": ead(firsts, 1),
        "ead_2": ead(firsts, 2),
        "uni_kl": uni_kl(firsts),
        "coverage": coverage(firsts),
        "set_precision": mean(mean(scores) for scores in overlaps),
        "set_recall": mean(max(scores) for scores in overlaps),
        "intra_dist_1": mean(mean(dist([reply], 1) for reply in pool) for pool in pools),
        "intra_dist_2": mean(mean(dist([reply], 2) for reply in pool) for pool in pools),
        "avg_len": mean(map(len, firsts)),
        "inter_dist_1": mean(dist(pool, 1) for pool in pools),
        "inter_dist_2": mean(dist(pool, 2) for pool in pools),
        "self_bleu_2": mean(self_bleu(pool, 2) for pool in pools),
        "self_bleu_4": mean(self_bleu(pool, 4) for pool in pools),
    }


@pytest.mark.parametrize("name", SETS)
def test_figures_equal_a_recomputation_from_their_definitions(name: str):
    scorer = RowScorer(corpus=Unigrams(CORPUS))
    for number, (post, response, replies) in enumerate(SETS[name]):
        scorer.add(Case(dialogue=str(number), context=(post,), responses=(response,)), replies)
    figures = {key: estimate.value for key, estimate in scorer.figures(seed=0).items()}
    assert figures == pytest.approx(recomputed(SETS[name]), abs=1e-9)


def test_ead_by_hand():
    # One n-gram is what one draw shows; of two draws from V, (2V - 1) / V differ on average.
    assert expectation_adjusted_distinct(1, 1) == pytest.approx(1, abs=1e-12)
    assert expectation_adjusted_distinct(2, 2) == pytest.approx(2 / (2 - 1 / 20_000), abs=1e-12)
    # So much text that all V words must have come.
    assert expectation_adjusted_distinct(5_000, 10**7) == pytest.approx(0.25, abs=1e-12)
    assert expectation_adjusted_distinct(0, 0) == 0


def test_unikl_of_the_corpus_with_itself_is_next_to_nothing():
    scorer = RowScorer(corpus=Unigrams(CORPUS))
    for number, text in enumerate(CORPUS):
        scorer.add(Case(dialogue=str(number), context=("a",), responses=("b",)), [text])
    figures = scorer.figures(seed=0)
    assert figures["coverage"].value == 1
    assert 0 < figures["uni_kl"].value < 1e-3


@pytest.mark.parametrize(
    ("pool", "count", "unique"),
    [
        (["a", "b", "a", "c", "b", "a", "a", "a", "a", "a"], 1, 3),
        (["a"] * 10 + ["b"], 11, 1),  # the eleventh is not of the ten
        (["a", "b", "", "", "c"], 10, 4),  # ten were asked for, five came
    ],
)
def test_unique_of_ten_is_over_what_was_drawn(pool: list[str], count: int, unique: int):
    scorer = RowScorer(count=count)
    scorer.add(Case(dialogue="d", context=("a",), responses=("b",)), pool)
    assert scorer.figures(seed=0)["unique_replies"].value == unique


@pytest.mark.parametrize(
    ("reply", "response", "bleu_2"),
    [
        # Unigrams 5 of 6 (the second "the" counts), bigrams 3 of 5: sqrt(5/6 x 3/5).
        ("the cat sat on the mat", "the cat is on the mat", 100 * math.sqrt(0.5)),
        # Everything matches at half the length: exp(1 - 4/2).
        ("the cat", "the cat sat here", 100 * math.exp(-1)),
        # Papineni et al.'s clipping: "the" may match twice, "the the" never.
        ("the the the the the the the", "the cat is on the mat", 0.0),
        ("", "the cat", 0.0),
    ],
)
def test_bleu_by_hand(reply: str, response: str, bleu_2: float):
    assert BleuCounts.of(reply.split(), [response.split()]).bleu(2) == pytest.approx(bleu_2)


def test_dist_and_entropy_by_hand():
    scorer = RowScorer()
    for reply in ("I know.", "I see."):
        scorer.add(Case(dialogue=reply, context=("a",), responses=("b",)), [reply])
    figures = scorer.figures(seed=0)
    assert figures["dist_1"].value == 4 / 6
    assert figures["dist_2"].value == 1.0
    # p = 1/3, 1/3, 1/6, 1/6
    assert figures["entropy"].value == pytest.approx(2 / 3 * math.log(3) + 1 / 3 * math.log(6))
