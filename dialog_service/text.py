"""From what a person types to model text and back: the one copy for training and serving.

Model text is lower-case words and punctuation marks separated by single spaces, clitics split
("don't" -> "do n't"). ``detokenise`` turns it into text a person would type. Knows nothing of
vocabularies or of corpora's markup.
"""

import re
import unicodedata

_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'", "\u00b4": "'",
                         "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-",
                         "\u2212": "-", "\u2026": "..."})  # fmt: skip
_DETACHED_APOSTROPHE = re.compile(r"(?<=\w) ?' ?(?=(?:s|m|d|t|ll|re|ve)\b)")
_WORD = re.compile(
    r"\w+?(?=n't\b)|n't\b|'(?:s|m|d|ll|re|ve)\b|o'clock\b"
    r"|(?:[a-z]\.){2,}|\d+(?:[.,:]\d+)*|\w+(?:-\w+)*|\.{2,}|[^\w\s]"
)
_CLITIC = re.compile(r" (n't|'(?:s|m|d|ll|re|ve))\b")
_CLOSING = re.compile(r" ((?:[.,!?;:%)\]}]|\.{2,})+)(?= |$)")
_OPENING = re.compile(r"([(\[{$#]) ")
_QUOTED = re.compile(r'" ([^"]*?) "')
_SENTENCE_START = re.compile(r"(^|[.!?]\s+|[.!?]\"\s+|^\")([a-z])")
_PRONOUN = re.compile(r"\bi\b(?!\.e)")
_PROPER = {word.lower(): word for word in ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "January", "February", "April", "June", "July", "August", "September", "October", "November", "December", "Mr", "Mrs", "Ms", "Dr", "TV", "OK", "CD", "DVD", "ID", "ATM", "English", "Chinese", "French", "German", "Italian", "Japanese", "American", "British", "Spanish", "Russian", "Canadian", "China", "America", "England", "France", "Germany", "Italy", "Japan", "Canada", "Australia", "Europe", "Beijing", "Shanghai", "London", "Paris", "Tokyo", "Boston", "Chicago", "Texas", "California", "Christmas", "Easter", "Internet"]}  # fmt: skip
_PROPER_PATTERN = re.compile(rf"\b(?:{'|'.join(_PROPER)})\b")


def normalise(text: str) -> str:
    """Model text of an utterance: idempotent, so a normalised text may be normalised again.

    Unicode NFKC; curly quotes and dashes made plain; control and format characters and lone
    surrogates dropped (a tab or newline separates words); lower case; words and marks apart.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    kept = "".join(_visible(character) for character in plain)
    joined = _DETACHED_APOSTROPHE.sub("'", " ".join(kept.lower().split()).replace(" n't", "n't"))
    return " ".join(split_words(joined))


def split_words(text: str) -> list[str]:
    """Words, clitics, numbers and punctuation marks of one text, in order."""
    return _WORD.findall(text)


def detokenise(text: str) -> str:
    """Model text as a person would type it: spacing, capitals at sentence starts, "I"."""
    joined = _CLITIC.sub(r"\1", text)
    joined = _QUOTED.sub(r'"\1"', joined)
    joined = _OPENING.sub(r"\1", _CLOSING.sub(r"\1", joined))
    named = _PROPER_PATTERN.sub(lambda match: _PROPER[match.group()], joined)
    capital = _SENTENCE_START.sub(lambda match: match[1] + match[2].upper(), named)
    return _PRONOUN.sub("I", capital).strip()


def _visible(character: str) -> str:
    """The character itself, a space for any white space, nothing for what cannot be shown."""
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn"} else character
