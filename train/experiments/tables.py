"""The tables as data: which rows are trained, how, and what the papers report of them.

Figures reported by the papers are copied from their tables; nothing here is measured.
"""

from collections.abc import Mapping

from dialog_service.errors import ConfigError
from train.data.pairs import PairMode
from train.experiments.ablation import ABLATION
from train.experiments.columns import NLL, TEXT_COLUMNS
from train.experiments.experiment import Column, Experiment, Section, TableRow

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
            columns=(*TEXT_COLUMNS, NLL),
        ),
        Section(
            split="strict",
            title="test pairs without a near-duplicate in training",
            columns=TEXT_COLUMNS,
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

EXPERIMENTS = {experiment.name: experiment for experiment in (DAILYDIALOG, SWITCHBOARD, ABLATION)}


def experiment_named(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        ConfigError: there is none; names those there are.
    """
    if name not in EXPERIMENTS:
        raise ConfigError(f"no table of {name!r}: there is {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
