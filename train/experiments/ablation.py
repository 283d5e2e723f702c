"""Our own model, whole and with one of its parts taken away at a time."""

from train.data.pairs import PairMode
from train.experiments.columns import NLL, TEXT_COLUMNS
from train.experiments.experiment import Column, Experiment, Section, TableRow


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
                *TEXT_COLUMNS,
                NLL,
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
            "The decoder knows the context through z alone, which joins every word as it is, not "
            "through a perceptron, and is not the first word.",
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
            key="with-label_smoothing",
            title="with smoothed targets",
            variant="bow_cvae",
            program="train.bow_cvae",
            assignments=("objective.label_smoothing=0.1",),
            difference="A tenth of each target is spread over all words.",
        ),
        TableRow(
            key="cvae",
            title="cvae, at this preset",
            variant="cvae",
            program="train.cvae",
            difference="The published composition, for comparison.",
        ),
    ),
    reported_test_set={},
    differences=(),
)
