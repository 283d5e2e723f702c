"""Who tells of replies what cannot be counted from them: how well they fit, how fluent they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from train.metrics.counting import Counts
from train.metrics.fluency import Fluency, LanguageModel, with_fluency
from train.metrics.judgement import Judge, Judgement, with_judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Of the replies to one context."""

    judgement: Judgement | None = None
    fluency: Fluency | None = None

    def beside(self, counts: Counts) -> Counts:
        """The context's counts with this among them."""
        if self.judgement:
            counts = with_judgement(counts, self.judgement)
        return with_fluency(counts, self.fluency) if self.fluency else counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Tellers:
    """Each may be missing, and so then is what it tells."""

    judge: Judge | None = None
    language_model: LanguageModel | None = None

    def of(self, contexts: Sequence[tuple[str, ...]], pools: Sequence[Sequence[str]]) -> list[Told]:
        """What is told of the replies to each context, at least one each, in order."""
        nothing = [None] * len(pools)
        judged = self.judge.judge(contexts, pools) if self.judge else nothing
        fluent = self.language_model.fluency(pools) if self.language_model else nothing
        return [
            Told(judgement=judgement, fluency=fluency)
            for judgement, fluency in zip(judged, fluent, strict=True)
        ]
