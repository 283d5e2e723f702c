"""Writes the toy corpus beside this file, in every on-disk format the loaders read.

Run once, ``python tests/data/toy/make.py``; the outputs are committed. Some dialogues of the
evaluation splits are in training, too, in another spelling, so that there is something to find.
"""

import csv
import itertools
import json
import random
import re
from pathlib import Path

from scenes import SCENES, Scene

HERE = Path(__file__).parent
COUNTS = {"train": 200, "validation": 30, "test": 30}
LEAKS = {"validation": 3, "test": 5}
DIALOGS_PER_CONVERSATION = 10
SWDA_FOLDERS = {"train": "train", "validation": "val", "test": "test"}
PUBLISHED_FILES = {"validation": "valid.csv", "test": "test.csv"}

Texts = list[str]
Splits = dict[str, list[Texts]]
Segments = list[tuple[str, str]]


def main() -> None:
    """Draw the dialogues and write them five times."""
    rng = random.Random(20)
    splits = draw(rng)
    write_dailydialog(splits)
    write_jsonl(splits)
    write_published(splits, rng)
    conversations = {name: converse(dialogs) for name, dialogs in splits.items()}
    write_swda(conversations)
    write_neuraldialog(conversations)


def draw(rng: random.Random) -> Splits:
    """Every split, scenes in turn, shuffled; evaluation splits get their leaks from training."""
    splits = {
        name: [perform(SCENES[i % len(SCENES)], rng) for i in range(count)]
        for name, count in COUNTS.items()
    }
    for name, count in LEAKS.items():
        splits[name][:count] = [respell(dialog) for dialog in rng.sample(splits["train"], count)]
    for dialogs in splits.values():
        rng.shuffle(dialogs)
    return splits


def perform(scene: Scene, rng: random.Random) -> Texts:
    """One dialogue of at least four turns."""
    values = {name: rng.choice(options) for name, options in scene.slots.items()}
    length = rng.randint(4, len(scene.turns))
    texts = (rng.choice(turn).format(**values) for turn in scene.turns[:length])
    return [re.sub(r"(^|[.?!] )([a-z])", lambda m: m[1] + m[2].upper(), text) for text in texts]


def respell(dialog: Texts) -> Texts:
    """The same letters with other marks and spacing; other numbers."""
    return [
        re.sub(r"\d+", "17", text.replace("'", " \u2019 ").replace(".", " .")).lower()
        for text in dialog
    ]


def write_dailydialog(splits: Splits) -> None:
    """One dialogue a line, every utterance ended by __eou__."""
    for name, dialogs in splits.items():
        lines = ("".join(f"{text} __eou__ " for text in texts).rstrip() for texts in dialogs)
        path = HERE / "ijcnlp_dailydialog" / name / f"dialogues_{name}.txt"
        write(path, "".join(f"{line}\n" for line in lines))


def write_jsonl(splits: Splits) -> None:
    """Strings in training and test, speakers and texts in validation: both forms are read."""
    for name, dialogs in splits.items():
        rows = [{"turns": named(texts) if name == "validation" else texts} for texts in dialogs]
        write(HERE / "jsonl" / f"{name}.jsonl", json_lines(rows))


def named(texts: Texts) -> list[dict[str, str]]:
    """Turns with their speakers."""
    return [{"speaker": "AB"[i % 2], "text": text} for i, text in enumerate(texts)]


def write_published(splits: Splits, rng: random.Random) -> None:
    """Cleaned pairs that training does not hold verbatim, in another order."""
    known = {clean(text) for texts in splits["train"] for text in texts}
    for name, file in PUBLISHED_FILES.items():
        pairs = [
            (clean(post), clean(reply))
            for texts in splits[name]
            for post, reply in itertools.pairwise(texts)
        ]
        rows = [pair for pair in pairs if not known.intersection(pair)]
        rng.shuffle(rows)
        path = HERE / "dailydialog_deduplicated" / file
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([("line", "reply"), *rows])


def clean(text: str) -> str:
    """As the published files are: few marks, numbers as NUM with the character behind them."""
    plain = re.sub(r"[^\w\s?.,]", "", text.strip().lower()).strip()
    return re.sub(r"[a-z]*\d+.?\d*%?", " NUM ", plain)


def converse(dialogs: list[Texts]) -> list[Segments]:
    """Long conversations of several dialogues, every sentence a segment of its own."""
    segments = [
        [("AB"[i % 2], part) for i, text in enumerate(texts) for part in sentences(text)]
        for texts in dialogs
    ]
    size = DIALOGS_PER_CONVERSATION
    return [list(itertools.chain(*segments[i : i + size])) for i in range(0, len(segments), size)]


def sentences(text: str) -> list[str]:
    """A text cut behind full stops and question marks."""
    return re.split(r"(?<=[.?!]) ", text)


def act(text: str) -> str:
    """A dialogue act tag that is not far off."""
    return "qy" if text.endswith("?") else "sd"


def write_swda(conversations: dict[str, list[Segments]]) -> None:
    """One file a conversation, one segment a line: speaker|text|act."""
    for name, dialogs in conversations.items():
        for number, segments in enumerate(dialogs, start=2001):
            lines = (f"{speaker}|{text}|{act(text)}\n" for speaker, text in segments)
            write(HERE / "swda_data" / SWDA_FOLDERS[name] / f"{number}.txt", "".join(lines))


def write_neuraldialog(conversations: dict[str, list[Segments]]) -> None:
    """One conversation a line, its utterances as [speaker, text, [act]]."""
    for name, dialogs in conversations.items():
        rows = [
            {"utts": [[speaker, text.lower(), [act(text)]] for speaker, text in segments]}
            for segments in dialogs
        ]
        file = "valid.jsonl" if name == "validation" else f"{name}.jsonl"
        write(HERE / "json_data" / file, json_lines(rows))


def json_lines(rows: list[dict[str, list]]) -> str:
    """One object a line."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def write(path: Path, text: str) -> None:
    """Write a file and the folder it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
