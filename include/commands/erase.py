"""`make erase LEAD=…`: forget a person, in everything that this project keeps in the warehouse."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from commands.session import run_command
from crm_to_meta.erasure import erase_requested, request_erasure
from crm_to_meta.errors import ConfigurationError

if TYPE_CHECKING:
    from commands.session import Session


def erase(session: Session) -> None:
    """Put the lead on record, and carry out all open requests."""
    lead_id = os.environ.get("LEAD", "")
    if not lead_id:
        raise ConfigurationError("Say whom to forget: `make erase LEAD=<Meta's lead id>`.")
    number = request_erasure(session.warehouse, lead_id)
    erasures = erase_requested(session.warehouse)
    if erasures.waits_for:
        session.console.print(
            f"Request {number} is on record, but nothing is erased yet: {', '.join(erasures.waits_for)} is at work and "
            "may have the person in memory. Repeat the command when it ended, or leave it to the DAG crm_to_meta_erase."
        )
        return
    for erasure in erasures.done:
        session.console.print(
            f"Request {erasure.erasure_id} is done. Transitions that no longer point to the person: "
            f"{erasure.transitions:,}. Stored request bodies deleted: {erasure.bodies:,}."
        )
    session.console.print("Not erased here: your CRM, backups of the warehouse, and what Meta has received.")


if __name__ == "__main__":
    run_command(erase)
