"""The tables as data: which rows are trained, how, and what the papers report of them.

Figures reported by the papers are copied from their tables; nothing here is measured.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from dialog_service.errors import ConfigError
from train.data.pairs import PairMode


class Decoding(enum.StrEnum):
    """The ways of decoding that get a line each.

    OWN: the checkpoint's sampling defaults. DRAWN: the papers' own way. GREEDY: nothing is drawn;
    for a model without noise this is the papers' way.
    """

    OWN = "own sampling"
    DRAWN = "z drawn, greedy tokens"
    GREEDY = "z not drawn, greedy tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: a figure of the report by its key, times ``scale``.

    ``is_health`` figures are the model's, whatever the decoding, so they stand on one line.
    """

    key: str
    title: str
    decimals: int
    scale: float = 1.0
    is_health: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table: a split of the test pairs, the flags of its evaluation, its columns.

    ``is_reported``: whether the paper's figures are on these pairs, as far as ours can be.
    """

    split: str
    title: str
    columns: tuple[Column, ...]
    flags: tuple[str, ...] = ()
    is_reported: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A system to train: the program ``python -m train.<...>`` with its flags.

    Attributes:
        key: names its folders.
        variant: key of ``train.variants.VARIANTS``.
        assignments: ``path=value`` each, as ``--set`` takes them.
        reported: the paper's figures by column key, in the column's unit.
        difference: in a sentence, what of this row is not as in the paper.
    """

    key: str
    title: str
    variant: str
    program: str
    flags: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    reported: Mapping[str, float] = field(default_factory=dict)
    difference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A table: its rows, what it is shown as, and what sets all of it apart from a paper's.

    Attributes:
        name: what it is asked for by; names its folders.
        source: the paper whose figures stand beside ours; None for a table of our own.
    """

    name: str
    corpus: str
    pair_mode: PairMode
    source: str | None
    reported_epochs: str
    sections: tuple[Section, ...]
    rows: tuple[TableRow, ...]
    reported_test_set: Mapping[str, float]
    differences: tuple[str, ...]

    def chosen(self, keys: str | None) -> tuple[TableRow, ...]:
        """The rows of a comma-separated list, in the table's order; None is all of them.

        Raises:
            ConfigError: a row that does not exist, or none at all; names those there are.
        """
        if keys is None:
            return self.rows
        asked = {key.strip() for key in keys.split(",") if key.strip()}
        known = [row.key for row in self.rows]
        unknown = sorted(asked - set(known))
        if unknown or not asked:
            raise ConfigError(
                f"--rows {', '.join(unknown) or repr(keys)}: {self.name} has {', '.join(known)}"
            )
        return tuple(row for row in self.rows if row.key in asked)


_TEXT_COLUMNS = (
    Column(key="bleu_2", title="BLEU-2", decimals=2),
    Column(key="bleu_4", title="BLEU-4", decimals=2),
    Column(key="entropy", title="entropy", decimals=2),
    Column(key="dist_1", title="Dist-1", decimals=3),
    Column(key="dist_2", title="Dist-2", decimals=3),
    Column(key="unique_replies", title="unique of 10", decimals=1),
    Column(key="relevance", title="relevance", decimals=3),
)
_NLL = Column(key="nll", title="NLL", decimals=1, is_health=True)

DAILYDIALOG = Experiment(
    name="dailydialog",
    corpus="dailydialog",
    pair_mode=PairMode.ADJACENT,
    source="Bahuleyan et al., Stochastic Wasserstein Autoencoder, NAACL 2019, Table 2",
    reported_epochs="200 epochs",
    sections=(
        Section(
            split="published",
            title="the published list's test pairs",
            columns=(*_TEXT_COLUMNS, _NLL),
        ),
        Section(
            split="strict",
            title="test pairs without a near-duplicate in training",
            columns=_TEXT_COLUMNS,
            flags=("--no-health", "--no-probes"),
            is_reported=False,
        ),
    ),
    rows=(
        TableRow(
            key="ded",
            title="DED",
            variant="ded",
            program="train.ded",
            reported={
                "bleu_2": 3.96,
                "bleu_4": 0.85,
                "entropy": 5.55,
                "dist_1": 0.044,
                "dist_2": 0.275,
            },
            difference="Has one reply per post under greedy tokens, so its variety is sampled.",
        ),
        TableRow(
            key="ved",
            title="VED",
            variant="ved",
            program="train.ved",
            reported={
                "bleu_2": 3.26,
                "bleu_4": 0.59,
                "entropy": 5.45,
                "dist_1": 0.053,
                "dist_2": 0.204,
            },
            difference="A dropped word becomes the unknown word here, padding in the paper's code.",
        ),
        TableRow(
            key="wed_d",
            title="WED-D",
            variant="wed_d",
            program="train.wed",
            reported={
                "bleu_2": 4.05,
                "bleu_4": 0.98,
                "entropy": 5.53,
                "dist_1": 0.042,
                "dist_2": 0.272,
            },
            difference="MMD's cross term counts twice, as in the paper's code, not in Equation 3.",
        ),
        TableRow(
            key="wed_s",
            title="WED-S",
            variant="wed_s",
            program="train.wed",
            flags=("--stochastic",),
            reported={
                "bleu_2": 3.72,
                "bleu_4": 0.69,
                "entropy": 5.59,
                "dist_1": 0.066,
                "dist_2": 0.309,
            },
            difference="Both penalties come in over the run here, from the first step there.",
        ),
    ),
    reported_test_set={"entropy": 6.15, "dist_1": 0.077, "dist_2": 0.414},
    differences=(
        "Training leaves out the dialogues that repeat an evaluation dialogue; the paper's does "
        "not.",
        "Replies and responses are both compared as lower-case word tokens, uncut; the paper's "
        "replies of at most 20 tokens meet cased responses in which numbers are NUM.",
        "Plain LSTM cells and trained embeddings; the paper's code has layer-normalised cells and "
        "frozen word2vec.",
        "The paper's test set row cannot be had from its published pairs: compare shares of the "
        "human row.",
    ),
)


def _coupled(weight: str, reported: Mapping[str, float]) -> TableRow:
    return TableRow(
        key=f"coupled_cvae-{weight}",
        title=f"Coupled-CVAE, lambda_m {weight}",
        variant="coupled_cvae",
        program="train.coupled_cvae",
        flags=("--lambda-m", weight),
        reported=reported,
        difference="The paper's NLL is 14.468 ln PPL: that cell of its table is not legible.",
    )


SWITCHBOARD = Experiment(
    name="switchboard",
    corpus="switchboard",
    pair_mode=PairMode.TURNS,
    source="Wu et al., Coupled-VAE, ACL 2020, Table 8",
    reported_epochs="60,000 steps",
    sections=(
        Section(
            split="deduplicated",
            title="test pairs that training does not contain",
            columns=(
                Column(key="nll", title="NLL", decimals=1, is_health=True),
                Column(key="kl", title="KL", decimals=1, is_health=True),
                Column(key="ppl", title="PPL", decimals=1, is_health=True),
                Column(key="dist_1", title="Dist-1 %", decimals=2, scale=100.0),
                Column(key="dist_2", title="Dist-2 %", decimals=2, scale=100.0),
                Column(key="mi", title="MI", decimals=2, is_health=True),
                Column(key="active_units", title="AU", decimals=0, is_health=True),
                Column(key="unique_replies", title="unique of 10", decimals=1),
                Column(key="relevance", title="relevance", decimals=3),
            ),
        ),
    ),
    rows=(
        TableRow(
            key="gru",
            title="GRU encoder-decoder",
            variant="gru",
            program="train.gru",
            reported={"nll": 53.9, "ppl": 41.6, "dist_1": 0.33, "dist_2": 0.80},
            difference="Encoders of 2 x 128 and a decoder of 256 as in the code, 128 in the text.",
        ),
        TableRow(
            key="cvae",
            title="CVAE",
            variant="cvae",
            program="train.cvae",
            reported={"nll": 54.0, "kl": 3.8, "ppl": 41.8, "dist_1": 0.61, "dist_2": 2.60},
            difference="Words are the 13,000 most frequent ones under the paper preset, not those "
            "seen five times.",
        ),
        _coupled("0.1", {"nll": 54.1, "ppl": 42.2, "dist_1": 0.71, "dist_2": 3.18}),
        _coupled("0.5", {"nll": 54.2, "ppl": 42.5, "dist_1": 0.78, "dist_2": 3.63}),
        _coupled("1", {"nll": 54.3, "ppl": 42.7, "dist_1": 0.86, "dist_2": 4.10}),
        _coupled("2", {"nll": 54.6, "ppl": 43.6, "dist_1": 0.99, "dist_2": 5.16}),
    ),
    reported_test_set={},
    differences=(
        "The paper's data is the NeuralDialog-CVAE release (203,000 training pairs), ours SwDA: "
        "its figures are for orientation, compare rows of one run.",
        "Pairs cross a change of speaker here; with --pair-mode segments they are consecutive "
        "segments as in the paper, half of them by one speaker.",
        "PPL is per token of this run's own vocabulary, so presets with other vocabularies do "
        "not compare, nor do the paper's 13,000 words.",
    ),
)


def _without(key: str, title: str, assignments: tuple[str, ...], difference: str) -> TableRow:
    """Our own model with one of its parts taken away."""
    return TableRow(
        key=f"without-{key}",
        title=f"without {title}",
        variant="bow_cvae",
        program="train.bow_cvae",
        assignments=assignments,
        difference=difference,
    )


_NO_DROPOUT = ("encoder.dropout", "decoder.dropout", "decoder.output_dropout")

ABLATION = Experiment(
    name="ablation",
    corpus="dailydialog",
    pair_mode=PairMode.ADJACENT,
    source=None,
    reported_epochs="",
    sections=(
        Section(
            split="published",
            title="the published list's test pairs",
            columns=(
                *_TEXT_COLUMNS,
                _NLL,
                Column(key="kl", title="KL", decimals=1, is_health=True),
                Column(key="mi", title="MI", decimals=2, is_health=True),
                Column(key="active_units", title="AU", decimals=0, is_health=True),
            ),
            is_reported=False,
        ),
    ),
    rows=(
        TableRow(
            key="bow_cvae",
            title="bow_cvae, all of it",
            variant="bow_cvae",
            program="train.bow_cvae",
            difference="What the other rows lack one part of.",
        ),
        _without(
            "bag_of_words",
            "the bag-of-words loss",
            ("objective.terms.bag_of_words.weight=0",),
            "Nothing but the decoder asks anything of z.",
        ),
        _without(
            "post",
            "the post in the decoder",
            ("model.bridge.kind=every_step",),
            "The decoder knows the context through z alone.",
        ),
        _without(
            "turns",
            "earlier turns",
            ("model.context_turns=1", "data.examples.context_turns=1"),
            "The context is the post alone.",
        ),
        _without(
            "conditional_prior",
            "the conditional prior",
            ('model.prior={"kind":"standard_normal"}',),
            "z comes from N(0, I), whatever the context.",
        ),
        _without(
            "label_smoothing",
            "label smoothing",
            ("objective.label_smoothing=0",),
            "Targets are one-hot.",
        ),
        _without(
            "deduplication",
            "dropping repeated training pairs",
            ("data.examples.keep_repeats=true",),
            "Every pair is seen as often as it occurs.",
        ),
        _without(
            "tied_output",
            "tied embeddings",
            ("model.decoder.tied_output=false",),
            "The vocabulary layer has weights of its own.",
        ),
        _without(
            "dropout",
            "dropout",
            tuple(f"model.{path}=0" for path in _NO_DROPOUT),
            "Nothing is dropped.",
        ),
        TableRow(
            key="cvae",
            title="CVAE as published",
            variant="cvae",
            program="train.cvae",
            difference="The paper's composition, for comparison.",
        ),
    ),
    reported_test_set={},
    differences=(),
)

EXPERIMENTS = {experiment.name: experiment for experiment in (DAILYDIALOG, SWITCHBOARD, ABLATION)}


def experiment_named(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        ConfigError: there is none; names those there are.
    """
    if name not in EXPERIMENTS:
        raise ConfigError(f"no table of {name!r}: there is {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
