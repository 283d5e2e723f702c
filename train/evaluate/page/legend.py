"""What each figure means to someone who meets it for the first time, and which way is good."""

import enum
from dataclasses import dataclass


class Direction(enum.StrEnum):
    """Which way a figure is good, as the page says it."""

    HIGHER = "higher is better"
    LOWER = "lower is better"
    HUMAN = "closest to human is best"


class Group(enum.StrEnum):
    """Figures that are read together, each group in a table of its own."""

    QUALITY = "Quality: do the replies fit?"
    DIVERSITY = "Diversity: are the replies different from context to context?"
    SEVERAL = "Several replies: do the replies to one context differ from one another?"
    OTHER = "Other figures"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One sentence on a figure, the way it is good, and where it is shown."""

    group: Group
    direction: Direction
    sentence: str


_Q, _D, _S = Group.QUALITY, Group.DIVERSITY, Group.SEVERAL
_UP, _DOWN, _HUMAN = Direction.HIGHER, Direction.LOWER, Direction.HUMAN

MEANINGS = {
    "bleu_2": Meaning(
        _Q, _UP, "overlap of words and word pairs with the reply a person gave, 0 to 100; "
        "there are many good replies, so even good systems score low"
    ),
    "bleu_4": Meaning(_Q, _UP, "the same with runs of up to four words"),
    "relevance": Meaning(
        _Q, _UP, "how probable a classifier, trained apart on the training dialogues, finds it "
        "that the reply belongs to the context, 0 to 1"
    ),
    "relevance_all": Meaning(_Q, _UP, "relevance averaged over all replies to a context"),
    "lm_nats": Meaning(
        _Q, _HUMAN, "nats a word, the end among them, by which a reply surprises a language model "
        "(n-grams up to four) of the training responses: above people's it is no good English, far "
        "below it is what is always said; retrieved and random replies are what that model learnt "
        "from, and look better than they are"
    ),
    "lm_nats_all": Meaning(_Q, _HUMAN, "the same over all replies to a context"),
    "relevance_rank": Meaning(
        _Q, _DOWN, "where the same classifier ranks the reply among 99 random ones; 1 is first"
    ),
    "relevance_mrr": Meaning(
        _Q, _UP, "one over the rank of the reply among 99 random ones, averaged; 1 is always first"
    ),
    "set_recall": Meaning(
        _Q, _UP, "BLEU-2, 0 to 1, of the one reply nearest to the person's: did any come close?"
    ),
    "set_precision": Meaning(
        _Q, _UP, "BLEU-2, 0 to 1, averaged over all replies: did all of them come close?"
    ),
    "entropy": Meaning(
        _D, _HUMAN, "how evenly the replies use the words of the language, in nats"
    ),
    "dist_1": Meaning(
        _D, _HUMAN, "different words as a share of all words, over one reply per context; falls "
        "as contexts are added, so only the same contexts compare"
    ),
    "dist_2": Meaning(_D, _HUMAN, "the same for pairs of neighbouring words"),
    "ead_1": Meaning(
        _D, _HUMAN, "different words as a share of those that blind draws of as many words would "
        "give, which takes the length of the replies out"
    ),
    "ead_2": Meaning(_D, _HUMAN, "the same for pairs of neighbouring words"),
    "uni_kl": Meaning(
        _D, _DOWN, "how far the replies' word frequencies are from those of the training "
        "responses, as a KL divergence in nats"
    ),
    "coverage": Meaning(
        _D, _UP, "share of the replies' words that the training responses have: an invented word "
        "makes UniKL large"
    ),
    "avg_len": Meaning(_D, _HUMAN, "words and punctuation marks per reply"),
    "inter_dist_1": Meaning(
        _S, _UP, "different words as a share of all words in the replies to one context together"
    ),
    "inter_dist_2": Meaning(_S, _UP, "the same for pairs of neighbouring words"),
    "intra_dist_1": Meaning(
        _S, _UP, "different words as a share of all words within one reply: low where it stutters"
    ),
    "intra_dist_2": Meaning(_S, _UP, "the same for pairs of neighbouring words"),
    "self_bleu_2": Meaning(
        _S, _DOWN, "overlap of each reply with the other replies to the same context, 0 to 1, "
        "in words and word pairs"
    ),
    "self_bleu_4": Meaning(_S, _DOWN, "the same with runs of up to four words"),
    "unique_replies": Meaning(_S, _UP, "different replies to one context, as whole sentences"),
}  # fmt: skip

# Figures shown large at the top where a report has them.
HEADLINES = ("bleu_2", "relevance", "dist_2", "entropy", "inter_dist_2", "unique_replies")

HEALTH = {
    "nll": ("NLL", 2, "nats per response: how surprising the model finds what people said; "
            "lower is better"),
    "ppl": ("PPL", 2, "the same per token, as a number of equally likely choices; depends on the "
            "tokens"),
    "bits_per_char": ("bits per character", 3, "the same per letter, which compares across "
                      "vocabularies"),
    "kl": ("KL", 2, "nats by which the posterior of z departs from its prior: near 0 the latent "
           "says nothing"),
    "mi": ("mutual information", 2, "nats that z tells of the pair it was drawn for, partly of the "
           "post where the prior sees that; at most the KL under a fixed prior"),
    "active_units": ("active units", 1, "dimensions of z whose mean moves with the input "
                     "(variance above 0.01)"),
    "active_units_beyond_prior": ("active units beyond the prior", 1, "the same for what the "
                                  "posterior's mean adds to the prior's"),
}  # fmt: skip

LIKELIHOODS = {
    "importance": "by importance sampling, an upper estimate of NLL that falls with more draws",
    "predictive": "predictive: the mean over codes drawn from the post alone",
    "exact": "exact: every post has one code",
}

_WHERE = "with respect to the encoded text (Wu et al. 2020, section 3.1)"
GRADIENTS = {
    "reconstruction": f"of the reconstruction, {_WHERE}: near 0 the encoder is not taught to "
    "carry the text",
    "kl": f"of the KL, {_WHERE}: falls to 0 as the posterior collapses onto the prior",
    "signal": f"of what reaches the decoder, relative to its own size, {_WHERE}: how much of a "
    "change in the text gets through",
}
