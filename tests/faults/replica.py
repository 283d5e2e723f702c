"""One replica of the service in a process of its own, with the echo model behind it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from dialog_service.v1 import dialog_pb2 as pb

PROGRAM = Path(__file__).parents[1] / "serving" / "echo_service.py"
_READY = re.compile(r"Ready on (\S+:\d+), figures on (\S+/metrics)\.")


class Replica:
    """May be stopped, killed and started again, at the same address; logs go to ``log``."""

    def __init__(self, log: Path, *flags: str, model_seconds: float = 0.002) -> None:
        self.log = log
        self.address = "127.0.0.1:0"
        self._flags = flags
        self._environment = os.environ | {"ECHO_SECONDS": str(model_seconds)}
        self._metrics_url = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when the service is ready."""
        command = (sys.executable, str(PROGRAM), "serve", "--log-format", "json")
        addresses = ("--grpc-address", self.address, "--metrics-address", "127.0.0.1:0")
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                (*command, *addresses, *self._flags),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
            )
        assert self.process.stdout is not None
        found = _READY.match(self.process.stdout.readline())
        assert found, self.log.read_text()
        self.address, self._metrics_url = found.groups()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once the process has ended."""
        assert self.process is not None
        code = self.process.wait(90)
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.wait()

    def metric(self, name: str, **labels: str) -> float | None:
        """The sum of what /metrics shows under these labels; None where there is nothing."""
        with urllib.request.urlopen(self._metrics_url, timeout=20) as page:
            families = text_string_to_metric_families(page.read().decode())
        found = [
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None

    def resident_bytes(self) -> int:
        """Memory of the process."""
        assert self.process is not None
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def logged(self) -> list[dict[str, Any]]:
        """Every line of its log about a call."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return [line for line in lines if "code" in line]

    def codes(self) -> Counter[str]:
        """How calls ended, by its own account."""
        return Counter(line["code"] for line in self.logged())


def echoes(request: pb.GenerateRepliesRequest, response: pb.GenerateRepliesResponse) -> str:
    """What is wrong with an echo: every reply holds what its own request said."""
    said = request.turns[-1].text
    texts = [reply.text for reply in response.replies]
    if not all(text.startswith(f"{said} / ") for text in texts):
        return "another's reply"
    return "" if len(set(texts)) == len(texts) == request.reply_count else "too few replies"
