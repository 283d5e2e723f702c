"""What a report is made of: documents written as JSON."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A part of ``report.json``: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
