"""Notifiers for tests: one writes down what it is told, the other one fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context


class RecordingNotifier(BaseNotifier):
    """Adds a line to a file."""

    template_fields = ("text",)

    def __init__(self, *, text: str, path: str) -> None:
        super().__init__()
        self.text = text
        self.path = path

    def notify(self, context: Context) -> None:
        """Write the rendered text down."""
        with Path(self.path).open("a") as file:
            file.write(f"{self.text}\n")


class BrokenNotifier(BaseNotifier):
    """Cannot tell anybody anything."""

    def notify(self, context: Context) -> None:
        """Fail."""
        raise OSError("https://hooks.example/secret")
