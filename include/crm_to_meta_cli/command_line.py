"""The command line: commands, options, help, and what becomes of errors.

Only an error that nobody foresaw ends in a traceback; this project's own errors are sentences.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from crm_to_meta.errors import CrmToMetaError
from crm_to_meta.ledger.doubts import Decision
from crm_to_meta.pipeline.settings import list_pipeline_files, load_pipeline, pipelines_folder
from crm_to_meta_cli.airflow_lookup import airflow_lookup
from crm_to_meta_cli.terminal import PROGRAM, Terminal, make_console, spell_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crm_to_meta.pipeline.settings import Pipeline

EXIT_WRONG: Final = 1
EXIT_USAGE: Final = 2
MAX_PLAN_DAYS: Final = 400

_DESCRIPTION: Final = """\
What you do beside the daily run. The commands find the warehouse and Meta where the DAG finds them: in variables such
as AIRFLOW_CONN_WAREHOUSE, in Airflow's secrets backend, or in its metadata database (Admin > Connections). So start
them where the scheduler runs, with its environment.
"""
_EPILOG: Final = f"""\
`{PROGRAM} COMMAND --help` explains a command.
Exit codes: 0 all is well, {EXIT_WRONG} something is wrong and a sentence says what, {EXIT_USAGE} wrong usage.
"""


class _UsageError(Exception):
    """The options do not go together; the message says how they do."""


def main(arguments: Sequence[str], *, spell: Callable[..., str] = spell_command) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: the command and its options.
        spell: returns a command with its options as a person types them; hints name commands so.
    """
    given = _build_parser().parse_args(arguments)
    terminal = Terminal(console=make_console(), spell=spell)
    try:
        with airflow_lookup():
            return int(given.run(terminal, given))
    except _UsageError as error:
        _print_error(str(error))
        return EXIT_USAGE
    except CrmToMetaError as error:
        _print_error(str(error))
        return EXIT_WRONG


def _print_error(sentence: str) -> None:
    make_console(stderr=True).print(sentence, style="bold red", markup=False, soft_wrap=True)


def _build_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog=PROGRAM, description=_DESCRIPTION, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_check, _add_preview, _add_plan, _add_doubts, _add_erase):
        add(commands)
    return parser


def _add_check(commands: Any) -> None:
    command = commands.add_parser(
        "check",
        help="test the warehouse, the source table, the token and the dataset",
        description="Tests the pipeline file, the warehouse, the source table, the rights for the schema capi, and "
        "Meta. Prints a line for each, and what to do about one that fails. Changes nothing. Meta is sent one event "
        "that it has to refuse: it is too old, and says too little about anybody.",
    )
    _add_pipeline(command)
    command.set_defaults(run=_check)


def _check(terminal: Terminal, given: Namespace) -> int:
    from crm_to_meta_cli.check import check

    return check(terminal, _find_pipeline(given.pipeline))


def _add_preview(commands: Any) -> None:
    command = commands.add_parser(
        "preview",
        help="show what a live run would send now, and send nothing",
        description="Builds the events that a live run would send now, byte for byte, and sends nothing. Prints how "
        "many there are, a few of them as the request for curl, and what was left out and why. Needs the dataset and "
        "the CRM's name of the Meta connection, but no token. The preview is on record in capi.run.",
    )
    _add_pipeline(command)
    command.add_argument(
        "--date",
        type=_day,
        metavar="DAY",
        help="only this day, such as 2026-03-01, in the pipeline's time zone; else what the daily run looks back over",
    )
    command.set_defaults(run=_preview)


def _preview(terminal: Terminal, given: Namespace) -> int:
    from crm_to_meta_cli.preview import preview

    return preview(terminal, _find_pipeline(given.pipeline), day=given.date)


def _add_plan(commands: Any) -> None:
    command = commands.add_parser(
        "plan",
        help="count, day by day, what a backfill would send",
        description="Counts for each day what a backfill would deliver, leave as too old for Meta, skip and "
        "quarantine. Sends nothing and leaves the ledger as it is.",
    )
    _add_pipeline(command)
    command.add_argument("--from", dest="first", type=_day, metavar="DAY", help="the first day, such as 2026-03-01")
    command.add_argument("--to", dest="last", type=_day, metavar="DAY", help="the last day; else the first day alone")
    command.set_defaults(run=_plan)


def _plan(terminal: Terminal, given: Namespace) -> int:
    first, last = given.first, given.last or given.first
    if first is None or last < first or (last - first).days >= MAX_PLAN_DAYS:
        example = terminal.spell("plan", **{"from": "2026-03-01", "to": "2026-03-07"})
        raise _UsageError(f"Say which days, the first one first, at most {MAX_PLAN_DAYS}: `{example}`.")
    from crm_to_meta_cli.plan import plan

    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return plan(terminal, _find_pipeline(given.pipeline), days)


def _add_doubts(commands: Any) -> None:
    command = commands.add_parser(
        "doubts",
        help="list events whose outcome is unknown, or say what became of them",
        description="Lists the runs that sent events and got no answer from Meta: how many events, when they were "
        "sent, and from when on they are too old to be sent again. Events Manager shows whether they arrived; "
        "--settle records what you found out. No later run goes against it.",
    )
    _add_pipeline(command)
    command.add_argument(
        "--settle",
        choices=[str(decision) for decision in Decision],
        help="arrived: Meta has the events, record them as delivered; "
        "send: Meta does not have them, the next run sends them with the same event ids",
    )
    command.add_argument(
        "--run", dest="run_key", metavar="KEY", help="with --settle: only the events of this run; else of all runs"
    )
    command.set_defaults(run=_doubts)


def _doubts(terminal: Terminal, given: Namespace) -> int:
    from crm_to_meta_cli.doubts import settle, show_doubts

    pipeline = _find_pipeline(given.pipeline)
    if given.settle:
        return settle(terminal, pipeline, Decision(given.settle), run_key=given.run_key)
    if given.run_key:
        raise _UsageError(f"A run goes with a decision: `{terminal.spell('doubts', settle='arrived', run='KEY')}`.")
    return show_doubts(terminal, pipeline)


def _add_erase(commands: Any) -> None:
    command = commands.add_parser(
        "erase",
        help="forget a person in everything that this project keeps",
        description="Removes what points to a lead from the ledger, and deletes the stored request bodies that have "
        "an event of the lead, in the warehouses of all pipelines. Erase the lead in the CRM first: else its next "
        "stage change is sent. Not erased: the CRM, backups of the warehouse, and what Meta has received.",
    )
    command.add_argument("--pipeline", metavar="NAME", help="only the warehouse of this pipeline")
    command.add_argument(
        "--lead",
        metavar="ID",
        help="Meta's id of the lead, 15 to 17 digits. An option is kept in the shell's history and shown in the list "
        "of processes, and this one is about a person: leave it out to be asked for it, or pipe it in",
    )
    command.set_defaults(run=_erase)


def _erase(terminal: Terminal, given: Namespace) -> int:
    from crm_to_meta_cli.erase import erase

    paths = list_pipeline_files()
    pipelines = [_find_pipeline(given.pipeline)] if given.pipeline else [load_pipeline(path) for path in paths]
    lead_id = given.lead or _read_lead_id()
    if not lead_id:
        raise _UsageError(f"Say whom to forget: `{terminal.spell('erase')}` asks for the lead's id or reads it.")
    return erase(terminal, sorted({pipeline.connections.warehouse for pipeline in pipelines}), lead_id)


def _read_lead_id() -> str:
    """Return the only line of standard input; a person is asked for it."""
    if sys.stdin.isatty():
        print("Meta's id of the lead: ", end="", file=sys.stderr, flush=True)  # noqa: T201 - a question
        return sys.stdin.readline().strip()
    given = sys.stdin.read().split()
    if len(given) > 1:
        raise _UsageError("Give one lead id at a time; nothing was erased.")
    return "".join(given)


def _add_pipeline(command: ArgumentParser) -> None:
    command.add_argument(
        "--pipeline",
        metavar="NAME",
        help="the pipeline file's name without .yaml; may be left out where there is only one",
    )


def _find_pipeline(name: str | None) -> Pipeline:
    """Return the pipeline of a name, or the only one."""
    if name is None:
        names = [path.stem for path in list_pipeline_files()]
        if len(names) != 1:
            known = ", ".join(names) or f"none in {pipelines_folder()}"
            raise _UsageError(f"Say which pipeline with --pipeline NAME; there are: {known}.")
        name = names[0]
    return load_pipeline(pipelines_folder() / f"{name}.yaml")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a calendar date; write it as 2026-03-01") from None
