"""The rows of one system: its replies counted over all cases and over each subset of them."""

from collections.abc import Iterator, Mapping, Sequence

from train.evaluate.subsets import Subset
from train.evaluate.tellers import Tellers, Told
from train.metrics.counting import ContextCounter
from train.metrics.null_rows import Role, System
from train.metrics.report import Row, Setting, Signature
from train.metrics.scoring import Case, Dialogues, RowScorer
from train.metrics.unigrams import Unigrams

Numberings = Mapping[Subset, Dialogues]


class SystemScorer:
    """Counts every reply once and adds the counts to each row that has its case."""

    def __init__(
        self, system: System, numberings: Numberings, corpus: Unigrams | None, tellers: Tellers
    ) -> None:
        """Start the rows.

        Args:
            system: whose replies they are.
            numberings: the subsets that get a row, each with its numbering, shared with the other
                systems.
            corpus: what UniKL compares with, if anything.
            tellers: of what cannot be counted.
        """
        self._system = system
        self._tellers = tellers
        self._counter = ContextCounter(count=system.count, is_response=system.role is Role.HUMAN)
        self._scorers = {
            subset: RowScorer(
                is_response=system.role is Role.HUMAN, corpus=corpus, dialogues=dialogues
            )
            for subset, dialogues in numberings.items()
        }

    def add_all(self, cases: Sequence[Case], replies: Sequence[Sequence[str]]) -> list[Told]:
        """Count the replies to some cases; gives what is told of each."""
        pools = [given[: self._system.count] for given in replies]
        told = self._tellers.of([case.context for case in cases], pools)
        for case, given, each in zip(cases, replies, told, strict=True):
            counts = each.beside(self._counter.of(case, given))
            for scorer in self._of(case):
                scorer.take(counts)
        return told

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
                judge=self._tellers.judge.fingerprint if self._tellers.judge else None,
            ),
        )

    def _of(self, case: Case) -> Iterator[RowScorer]:
        return (scorer for subset, scorer in self._scorers.items() if subset.holds(case))
