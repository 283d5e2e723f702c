"""Texts that end a reply. Knows replies as a person reads them, no tokens."""

from collections.abc import Sequence


def before_first(text: str, stops: Sequence[str]) -> str:
    """What stands in ``text`` before the first of ``stops``, all of it where none occurs.

    Upper and lower case differ; white space left at the end goes too.
    """
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)].rstrip() if places else text
