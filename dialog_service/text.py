"""From what a person types to model text and back: the one copy for training and serving.

Model text is lower-case words and punctuation marks separated by single spaces, clitics split
("don't" -> "do n't"). ``detokenise`` turns it into text a person would type. Knows nothing of
vocabularies or of corpora's markup.
"""

import re
import unicodedata

from dialog_service.proper_nouns import PHRASES, WORDS

_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'", "\u00b4": "'",
                         "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-",
                         "\u2212": "-", "\u2026": "..."})  # fmt: skip
_DETACHED_APOSTROPHE = re.compile(r"(?<=\w) ?' ?(?=(?:s|m|d|t|ll|re|ve)\b)")
_WORD = re.compile(
    r"[^\W\d]\w*?(?=n't\b)|n't\b|'(?:s|m|d|ll|re|ve)\b|o'clock\b"
    r"|(?:[a-z]\.){2,}|\d+(?:[.,:]\d+)*|\w+(?:-\w+)*|\.{2,}|[^\w\s]"
)
# Spacing: what of a sequence of words and marks belongs together, applied in this order.
_JOINS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r" (n't|'(?:s|m|d|ll|re|ve))\b", r"\1"),  # do n't
        (r"\b(c|d|o|y|ma) ' (?=[a-z])", r"\1'"),  # c'mon, ma'am
        (r"\b([ap]) \. m(?: \.|\b)", r"\1.m."),
        (r"(?<=\b[b-hj-z]) \. (?=[b-hj-z]\b)", "."),  # u.s.
        (r"\.(?: \.){2,}", "..."),
        (r"' '", '"'),
        (r"\u3002", "."),
        (r"([,.;:])(?: \1)+", r"\1"),
        (r"\.{2,}", "..."),
        (r'" ([^"]+) "', r'"\1"'),
        (r"(?<!\S)' (.+?) '(?!\S)", r"'\1'"),
        (r"(?<=s) '(?= )", "'"),  # the boys' room
        (r"(?:^|(?<= ))[\"'](?: |$)", ""),  # a quotation mark alone
        (r" ([.,!?;:%)\]}]|\.\.\.)(?=[ \"')\]}]|$)", r"\1"),
        (r"([(\[{$£€¥#]) ", r"\1"),
        (r"-(?: -)+", "-"),
        (r"(?<=\d) - (?=\d|[a-z]{2})", "-"),  # 24-hour
        (r"(?<=\d): (?=\d\d)", ":"),
        (r"(?<=\w) / (?=\w)", "/"),
        (r"(?<=\d) (st|nd|rd|th|s)\b", r"\1"),
        (r"^[,;: ]+(?=\S)", ""),
    )
)
_PROPER = {name.lower(): name for name in (*PHRASES, *WORDS.split())}
_PHRASE = re.compile(rf"\b({'|'.join(phrase.lower() for phrase in PHRASES)})\b")
_PHRASE_STARTS = {phrase.lower().split()[0] for phrase in PHRASES}
_NAME = re.compile(r"\w+")
_LOWER_ABBREVIATIONS = {"a.m", "p.m", "e.g", "i.e"}
# Capitals of the only group, applied in this order: of what is no name, and what follows names.
_SPELT = (re.compile(r"\b([a-z](?:\.[a-z])+\b)"), re.compile(r"\b((?:[a-z]-)+[a-z])\b"))
_CAPITALS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?:Mr|Mrs|Ms|Dr)\.? ([a-z])",
        r"^\W*([a-z])",
        # After the end of a sentence, which neither "..." nor "a.m." is.
        r"(?:[!?][)\]]*|(?<!\.\.)(?<!\.\w)\.[\"')\]]*) [\"'(\[]*([a-z])",
        r", \"([a-z])",
        r"(?<![\w-])(i)(?!\.e|[\w-])",
    )
)


def normalise(text: str) -> str:
    """Model text of an utterance: idempotent, so a normalised text may be normalised again.

    Unicode NFKC; curly quotes and dashes made plain; control and format characters and lone
    surrogates dropped (a tab or newline separates words); lower case; words and marks apart.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    # Of printable characters all are kept, and none but " " is white space.
    kept = plain if plain.isprintable() else "".join(map(_visible, plain))
    joined = _DETACHED_APOSTROPHE.sub("'", " ".join(kept.lower().split()))
    return " ".join(split_words(joined))


def split_words(text: str) -> list[str]:
    """Words, clitics, numbers and punctuation marks of one text, in order."""
    return _WORD.findall(text)


def detokenise(text: str) -> str:
    """Model text as a person would type it: spacing, quotes, capitals at starts and of names."""
    for pattern, replacement in _JOINS:
        text = pattern.sub(replacement, text)
    for pattern in _SPELT:
        text = pattern.sub(_with_capitals, text)
    text = _with_names(text)
    for pattern in _CAPITALS:
        text = pattern.sub(_with_capitals, text)
    return text.strip()


def _with_names(text: str) -> str:
    """Names as they are written: phrases, where one may begin, then words, looked up."""
    if not _PHRASE_STARTS.isdisjoint(_NAME.findall(text)):
        text = _PHRASE.sub(_with_capitals, text)
    return _NAME.sub(lambda match: _PROPER.get(match[0], match[0]), text)


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
