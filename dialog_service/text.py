"""From what a person types to model text and back: the one copy for training and serving.

Model text is lower-case words and punctuation marks separated by single spaces, clitics split
("don't" -> "do n't"). ``detokenise`` turns it into text a person would type. Knows nothing of
vocabularies or of corpora's markup.
"""

import re
import unicodedata
from functools import lru_cache

from dialog_service.proper_nouns import PHRASES, WORDS

_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'", "\u00b4": "'",
                         "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-",
                         "\u2212": "-", "\u2026": "..."})  # fmt: skip
_DETACHED_APOSTROPHE = re.compile(r"(?<=\w) ?' ?(?=(?:s|m|d|t|ll|re|ve)\b)")
_WORD = re.compile(
    r"[^\W\d]\w*?(?=n't\b)|n't\b|'(?:s|m|d|ll|re|ve)\b|o'clock\b"
    r"|(?:[a-z]\.){2,}|\d+(?:[.,:]\d+)*|\w+(?:-\w+)*|\.{2,}|[^\w\s]"
)
# Spacing: what of a sequence of words and marks belongs together, applied in this order. A rule is
# tried only where the text holds what stands first: it is in all that the pattern matches or looks
# at. A pattern tried on most texts begins with a character and then looks behind it, since a search
# finds a character much faster than a condition.
_JOINS = tuple(
    (needed, re.compile(pattern), replacement)
    for needed, pattern, replacement in (
        ("'", r" (?=(?:n't|'(?:s|m|d|ll|re|ve))\b)", ""),  # do n't
        (" ' ", r"\b(c|d|o|y|ma) ' (?=[a-z])", r"\1'"),  # c'mon, ma'am
        (" . m", r"\b([ap]) \. m(?: \.|\b)", r"\1.m."),
        (" . ", r" \. (?<=\b[b-hj-z] \. )(?=[b-hj-z]\b)", "."),  # u.s.
        (". . .", r"\.(?: \.){2,}", "..."),
        ("' '", r"' '", '"'),
        ("\u3002", r"\u3002", "."),
        (", ,", r",(?: ,)+", ","),
        (". .", r"\.(?: \.)+", "."),
        ("; ;", r";(?: ;)+", ";"),
        (": :", r":(?: :)+", ":"),
        ("..", r"\.{2,}", "..."),
        ('" ', r'" ([^"]+) "', r'"\1"'),
        ("' ", r"(?<!\S)' (.+?) '(?!\S)", r"'\1'"),
        ("s ' ", r"(?<=s) '(?= )", "'"),  # the boys' room
        ("", r"[\"'](?<![^ ].)(?: |$)", ""),  # a quotation mark alone
        (" ", r" (?=(?:[.,!?;:%)\]}]|\.\.\.)(?:[ \"')\]}]|$))", ""),
        (" ", r" (?<=[(\[{$£€¥#] )", ""),
        ("- -", r"-(?: -)+", "-"),
        (" - ", r"(?<=\d) - (?=\d|[a-z]{2})", "-"),  # 24-hour
        (": ", r"(?<=\d): (?=\d\d)", ":"),
        (" / ", r"(?<=\w) / (?=\w)", "/"),
        (" ", r" (?<=\d )(?=(?:st|nd|rd|th|s)\b)", ""),
        ("", r"^[,;: ]+(?=\S)", ""),
    )
)
_PROPER = {name.lower(): name for name in (*PHRASES, *WORDS.split())}
_NAME = re.compile(r"(\w+)")
_LOWER_ABBREVIATIONS = {"a.m", "p.m", "e.g", "i.e"}
# Capitals of the only group, applied in this order: of more than a word, and what follows names.
_SPELT = tuple(
    (needed, re.compile(pattern))
    for needed, pattern in (
        (".", r"([a-z]\.(?<=\b[a-z]\.)[a-z](?:\.[a-z])*\b)"),
        ("-", r"\b((?:[a-z]-)+[a-z])\b"),
        *((phrase.lower(), rf"\b({phrase.lower()})\b") for phrase in PHRASES),
    )
)
_CAPITALS = tuple(
    (needed, re.compile(pattern))
    for needed, pattern in (
        ("Mr", r"\bMrs?\.? ([a-z])"),
        ("Ms", r"\bMs\.? ([a-z])"),
        ("Dr", r"\bDr\.? ([a-z])"),
        ("", r"^\W*([a-z])"),
        # After the end of a sentence, which neither "..." nor "a.m." is.
        (" ", r"[!?][)\]]* [\"'(\[]*([a-z])"),
        (" ", r"\.(?<!\.\.\.)(?<!\.\w\.)[\"')\]]* [\"'(\[]*([a-z])"),
        (', "', r", \"([a-z])"),
        ("i", r"(i)(?<![\w-]i)(?!\.e|[\w-])"),
    )
)


@lru_cache(maxsize=1024)  # what one request says is asked for by validation, pool and model
def normalise(text: str) -> str:
    """Model text of an utterance: idempotent, so a normalised text may be normalised again.

    Unicode NFKC; curly quotes and dashes made plain; control and format characters and lone
    surrogates dropped (a tab or newline separates words); lower case; words and marks apart.
    """
    return " ".join(normalised_words(text))


def normalised_words(text: str) -> list[str]:
    """The words and marks of ``normalise(text)``, in order."""
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    # Of printable characters all are kept, and none but " " is white space.
    kept = plain if plain.isprintable() else "".join(map(_visible, plain))
    joined = " ".join(kept.lower().split())
    if "'" in joined:  # most texts have none, and the search costs a third of all this
        joined = _DETACHED_APOSTROPHE.sub("'", joined)
    return split_words(joined)


def split_words(text: str) -> list[str]:
    """Words, clitics, numbers and punctuation marks of one text, in order."""
    return _WORD.findall(text)


def detokenise(text: str) -> str:
    """Model text as a person would type it: spacing, quotes, capitals at starts and of names."""
    for needed, pattern, replacement in _JOINS:
        if needed in text:
            text = pattern.sub(replacement, text)
    for needed, pattern in _SPELT:
        if needed in text:
            text = pattern.sub(_with_capitals, text)
    text = _with_names(text)
    for needed, pattern in _CAPITALS:
        if needed in text:
            text = pattern.sub(_with_capitals, text)
    return text.strip()


def _with_names(text: str) -> str:
    """Names of a word as they are written, looked up; most texts hold none."""
    parts = _NAME.split(text)  # words, and what is between them
    if _PROPER.keys().isdisjoint(parts):
        return text
    return "".join([_PROPER.get(part, part) for part in parts])


def _with_capitals(match: re.Match[str]) -> str:
    """The match with its group as it is written."""
    found = match[1]
    written = found if found in _LOWER_ABBREVIATIONS else _PROPER.get(found, found.upper())
    return match[0][: match.start(1) - match.start()] + written


def _visible(character: str) -> str:
    """The character itself, a space for any white space, nothing for what cannot be shown."""
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn"} else character
