"""Three questions to a service of its own, and the first one again: what ``make demo`` shows.

The service is the real one with its defaults (the packaged model, an embedded Redis), in a process
of its own and on a free port; the questions go through the real client.
"""

import signal
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dialog_service.client import CallFailed, DialogClient
from dialog_service.local_service import ServiceEnded, local_service
from dialog_service.v1 import dialog_pb2 as pb

QUESTIONS = (
    "How was your weekend?",
    "What would you like to have for dinner?",
    "I lost my wallet on the train this morning.",
)
REPLIES = 5
FLAGS = ("--metrics-address", "off", "--redis-url", "embedded", "--log-level", "warning")

console = Console(highlight=False)


def show(question: str, response: pb.GenerateRepliesResponse) -> None:
    """A question, its replies, and what the response says about them."""
    console.print(Text(f"\n{question}", style="bold"))
    for number, reply in enumerate(response.replies, 1):
        console.print(Text(f"  {number}  {reply.text}"))
    status = pb.CacheStatus.Name(response.cache.status).removeprefix("CACHE_STATUS_")
    diversity = response.diversity
    console.print(
        f"     cache {status} · Dist-1 {diversity.distinct_1:.2f} · "
        f"Dist-2 {diversity.distinct_2:.2f} · {diversity.unique_replies} different replies",
        style="dim",
    )


def show_live(windows: Iterable[pb.DiversityWindow]) -> None:
    """The live figures, over every reply so far."""
    table = Table("live over", "replies", "words", "Dist-1", "Dist-2", box=None)
    for window in windows:
        scope = pb.DiversityScope.Name(window.scope).removeprefix("DIVERSITY_SCOPE_").lower()
        source = pb.ReplySource.Name(window.source).removeprefix("REPLY_SOURCE_").lower()
        ratios = f"{window.distinct_1:.2f}", f"{window.distinct_2:.2f}"
        table.add_row(scope, source, str(window.window_tokens), *ratios)
    console.print()
    console.print(table)


def converse(client: DialogClient) -> None:
    """Ask everything, the first question until its replies come from its pool."""
    for question in QUESTIONS:
        show(question, client.ask(question, reply_count=REPLIES))
    for _ in range(2):
        show(f"{QUESTIONS[0]} (again)", client.ask(QUESTIONS[0], reply_count=REPLIES))
    show_live(client.get_diversity().windows)


def main() -> int:
    """The exit code: 0, or 1 where the service did not answer."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        console.print("Starting the service ...", style="dim")
        with local_service(*FLAGS) as address, DialogClient(address) as client:
            converse(client)
    except ServiceEnded:
        return 1
    except CallFailed as error:
        console.print(f"The service did not answer: {error}", style="red")
        return 1
    except KeyboardInterrupt:
        return 130
    console.print("\nThe service has shut down.", style="dim")
    return 0


if __name__ == "__main__":
    sys.exit(main())
