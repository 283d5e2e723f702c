"""Parts of the cases with rows of their own beside those of all cases.

On Switchboard ten responses ("yeah", "uh-huh", ...) are a quarter of the test set: figures over
everything say little of either the short responses or the others.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dialog_service.diversity import metric_tokens
from train.metrics.scoring import Case

_BACK_CHANNEL_WORDS = 2


@dataclass(frozen=True, slots=True)
class Subset:
    """The cases for which ``holds``; ``name`` in rows, ``definition`` in signatures."""

    name: str
    definition: str
    holds: Callable[[Case], bool]

    def row_name(self, system: str) -> str:
        """What the table calls a system's row on these cases."""
        return f"{system}, {self.name}" if self.name else system

    def split(self, split: str) -> str:
        """What the signature calls the split."""
        return f"{split}, {self.definition}" if self.definition else split


def is_back_channel(case: Case) -> bool:
    """Whether the first response is two words or fewer; marks are no words, nor are clitics."""
    words = [t for t in metric_tokens(case.responses[0]) if t[0].isalnum() and t != "n't"]
    return len(words) <= _BACK_CHANNEL_WORDS


ALL = Subset("", "", lambda case: True)
CONTENT = Subset(
    "content replies",
    f"responses of more than {_BACK_CHANNEL_WORDS} words",
    lambda case: not is_back_channel(case),
)
BACK_CHANNELS = Subset(
    "back-channels", f"responses of {_BACK_CHANNEL_WORDS} words or fewer", is_back_channel
)


def subsets_of(corpus: str | None) -> tuple[Subset, ...]:
    """The parts that a corpus is reported in, all cases first."""
    return (ALL, CONTENT, BACK_CHANNELS) if corpus == "switchboard" else (ALL,)
