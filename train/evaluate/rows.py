"""The rows of one system: its replies counted over all cases and over each subset of them."""

from collections.abc import Iterator, Mapping, Sequence

from train.evaluate.subsets import Subset
from train.metrics.counting import ContextCounter
from train.metrics.judgement import Judge, Judgement, with_judgement
from train.metrics.null_rows import Role, System
from train.metrics.report import Row, Setting, Signature
from train.metrics.scoring import Case, Dialogues, RowScorer
from train.metrics.unigrams import Unigrams

Numberings = Mapping[Subset, Dialogues]


class SystemScorer:
    """Counts every reply once and adds the counts to each row that has its case."""

    def __init__(
        self, system: System, numberings: Numberings, corpus: Unigrams | None, judge: Judge | None
    ) -> None:
        """Start the rows.

        Args:
            system: whose replies they are.
            numberings: the subsets that get a row, each with its numbering, shared with the other
                systems.
            corpus: what UniKL compares with, if anything.
            judge: of relevance, if anybody.
        """
        self._system = system
        self._judge = judge
        self._counter = ContextCounter(count=system.count, is_response=system.role is Role.HUMAN)
        self._scorers = {
            subset: RowScorer(
                is_response=system.role is Role.HUMAN, corpus=corpus, dialogues=dialogues
            )
            for subset, dialogues in numberings.items()
        }

    def add_all(
        self, cases: Sequence[Case], replies: Sequence[Sequence[str]]
    ) -> Sequence[Judgement | None]:
        """Count the replies to some cases; gives what the judge says of each."""
        judgements = self._judgements(cases, replies)
        for case, given, judgement in zip(cases, replies, judgements, strict=True):
            counts = self._counter.of(case, given)
            if judgement:
                counts = with_judgement(counts, judgement)
            for scorer in self._of(case):
                scorer.take(counts)
        return judgements

    def row(self, subset: Subset, setting: Setting) -> Row | None:
        """The row on a subset; None where no case is in it."""
        scorer = self._scorers[subset]
        if not scorer.contexts:
            return None
        return Row(
            name=subset.row_name(self._system.name),
            role=self._system.role,
            figures=scorer.figures(setting.seed),
            contexts_short_of_replies=scorer.contexts_below(self._system.count),
            signature=Signature(
                **setting.model_dump(exclude={"split"}),
                split=subset.split(setting.split),
                replies_per_context=self._system.count,
                decoding=self._system.decoding,
                contexts=scorer.contexts,
                dialogues=scorer.dialogues,
                judge=self._judge.fingerprint if self._judge else None,
            ),
        )

    def _judgements(
        self, cases: Sequence[Case], replies: Sequence[Sequence[str]]
    ) -> Sequence[Judgement | None]:
        if self._judge is None:
            return [None] * len(cases)
        pools = [given[: self._system.count] for given in replies]
        return self._judge.judge([case.context for case in cases], pools)

    def _of(self, case: Case) -> Iterator[RowScorer]:
        return (scorer for subset, scorer in self._scorers.items() if subset.holds(case))
