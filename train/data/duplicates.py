"""What an evaluation split shares with training, and what training shares with evaluation.

Texts are compared by a key of their lower-case letters, with every run of digits as one 0:
spacing, quotes, case and punctuation play no part.
"""

import enum
import re
from collections.abc import Sequence

from train.data.dialogs import Dialog
from train.data.pairs import Pair

_DIGITS = re.compile(r"\d+")
_NEITHER = re.compile(r"[\W_]+")


class DedupRule(enum.StrEnum):
    """When an evaluation pair counts as seen in training.

    SIDES: its post is a training post or its reply a training reply, as Stochastic WAE did.
    PAIRS: the same post has the same reply. For Switchboard, where ten replies ("yeah", "uh-huh")
        are a quarter of the test set and no sign of a leak.
    OFF: never.
    """

    SIDES = "sides"
    PAIRS = "pairs"
    OFF = "off"


def text_key(text: str) -> str:
    """Lower-case letters, every run of digits as one 0, nothing else."""
    return _NEITHER.sub("", _DIGITS.sub("0", text.lower()))


def drop_seen(pairs: Sequence[Pair], train: Sequence[Pair], rule: DedupRule) -> tuple[Pair, ...]:
    """The pairs that training does not contain by the given rule, in order.

    A longer context is judged by its last turn, so that every context length keeps the same rows.
    """
    if rule is DedupRule.OFF:
        return tuple(pairs)
    seen = {_pair_key(pair) for pair in train}
    if rule is DedupRule.PAIRS:
        return tuple(pair for pair in pairs if _pair_key(pair) not in seen)
    posts = {post for post, _ in seen}
    replies = {reply for _, reply in seen}
    keyed = ((pair, *_pair_key(pair)) for pair in pairs)
    return tuple(pair for pair, post, reply in keyed if post not in posts and reply not in replies)


def leaked_dialogs(train: Sequence[Dialog], evaluation: Sequence[Dialog]) -> frozenset[int]:
    """Indices of the training dialogues that repeat an evaluation dialogue from end to end."""
    known = {_dialog_key(dialog) for dialog in evaluation}
    return frozenset(index for index, dialog in enumerate(train) if _dialog_key(dialog) in known)


def drop_leaked_dialogs(pairs: Sequence[Pair], leaked: frozenset[int]) -> tuple[Pair, ...]:
    """The training pairs that come from no leaked dialogue."""
    return tuple(pair for pair in pairs if pair.dialog not in leaked)


def drop_repeats(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs, each context and response once: where it occurs first."""
    first: dict[tuple[str, ...], Pair] = {}
    for pair in pairs:
        first.setdefault((*map(text_key, pair.context), text_key(pair.response)), pair)
    return tuple(first.values())


def _pair_key(pair: Pair) -> tuple[str, str]:
    return text_key(pair.context[-1]), text_key(pair.response)


def _dialog_key(dialog: Dialog) -> str:
    return "".join(text_key(turn.text) for turn in dialog.turns)
