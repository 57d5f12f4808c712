"""The connection check says in a sentence what is wrong, as the run does; Meta gets nothing that it could use."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daily_run import CRM_NAME, Company, create_source
from psycopg import sql

from crm_to_meta.check.checks import Finding, build_probe, check_meta, check_warehouse
from crm_to_meta.errors import ConfigurationError, WarehouseError
from crm_to_meta.ledger.schema import migrate
from crm_to_meta.meta.body import build_body
from crm_to_meta.meta.client import MetaClient, MetaSettings
from crm_to_meta.warehouse import execute
from crm_to_meta_demo.embedded_postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

APP_SECRET = "0123456789abcdef0123456789abcdef"
POWERLESS = "powerless-token"


def settings_of(company: Company, **changes: Any) -> MetaSettings:
    """Return the company's settings, changed as given."""
    stand_in = company.stand_in
    settings = MetaSettings(
        dataset_id=stand_in.dataset_id, crm_name=CRM_NAME, token=stand_in.token, base_url=stand_in.base_url
    )
    return replace(settings, **changes)


def ask_meta(company: Company, **changes: Any) -> Finding:
    """Check the stand-in with settings that are changed as given."""
    settings = settings_of(company, **changes)
    with MetaClient(settings, timeout_s=60) as client:
        return check_meta(client, settings, now=company.now)


# Meta -----------------------------------------------------------------------------------------------------------------


def test_good_token_is_told_so(company: Company) -> None:
    """One request, refused as it should be: token, dataset and permissions work, and no event went in."""
    finding = ask_meta(company)
    (request,) = company.stand_in.requests()

    assert finding.is_good
    assert "token, permissions and dataset 1261294122522559, API v24.0 work" in finding.sentence
    assert request["error_subcode"] == 2804003
    assert company.received() == []


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "token expired": ({"token": "expired-token"}, r"^auth_190_463: The access token has expired\. It ended on .* UTC"),
    "token mistyped": ({"token": "mistyped"}, "^auth_190: Meta refuses the access token"),
    "no permission": ({"token": POWERLESS}, "^auth_200: The token has no permission for this dataset"),
    "dataset": ({"dataset_id": "4711"}, "^configuration_100_33: The token does not see the dataset"),
    "version": ({"api_version": "v1.0"}, "^configuration_2635: Meta no longer serves this version"),
    "app secret": ({"app_secret": "f" * 32}, "^configuration_100: Meta refuses the proof"),
    "nobody there": ({"base_url": "http://127.0.0.1:1"}, "^no answer from 127.0.0.1: the connection is refused"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_work_is_told_in_a_sentence(company: Company, case: str) -> None:
    """Each thing that can be wrong has its own words, with what to do."""
    changes, sentence = BAD[case]
    proof = {"app_secret": APP_SECRET} if case == "app secret" else {}
    company.stand_in.set_settings(powerless_tokens=[POWERLESS], **proof)
    finding = ask_meta(company, **changes)

    assert not finding.is_good
    assert re.search(sentence, finding.sentence)
    assert company.received() == []


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"kind": "answer", "json": {"error": {"code": 4}}}, "rate_limit_4: Meta limits the rate"),
        ({"kind": "answer", "json": {"error": {"code": 100}}}, "payload_100: Meta refused the request without saying"),
        ({"kind": "html"}, "in_doubt_502: this answer tells nothing"),
        ({"kind": "status", "status": 404}, "unknown_404: this answer tells nothing"),
    ],
)
def test_an_answer_that_proves_nothing_is_no_success(company: Company, fault: dict[str, Any], sentence: str) -> None:
    """What is neither a refusal of the event nor of the token leaves the question open, and fails the check."""
    company.stand_in.set_faults([fault])
    finding = ask_meta(company)

    assert not finding.is_good
    assert finding.sentence.startswith(sentence)


def test_right_app_secret_works(company: Company) -> None:
    """The client proves to be the app's own."""
    company.stand_in.set_settings(app_secret=APP_SECRET)

    assert ask_meta(company, app_secret=APP_SECRET).is_good


def test_probe_is_refused_even_where_its_age_is_not(company: Company) -> None:
    """Two reasons, each documented: were one of them to fall, nothing could be matched with anybody all the same."""
    body = build_body([build_probe(CRM_NAME, now=datetime.now(UTC) + timedelta(days=8))])
    company.stand_in.set_settings(now_unix_s=None)
    with MetaClient(settings_of(company), timeout_s=60) as client:
        answer = client.send_events(body, events=1)

    assert answer.subcode == 2804050
    assert company.received() == []


# The warehouse --------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(company: Company) -> Iterator[str]:
    """A role that may log in and no more; the company's connection takes it on."""
    name = f"reader_of_{company.warehouse.info.dbname}"
    company.warehouse.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    yield name
    company.warehouse.execute("RESET ROLE")
    company.warehouse.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
    company.warehouse.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def look(company: Company) -> dict[str, Finding]:
    """Check the warehouse."""
    return {finding.part: finding for finding in check_warehouse(company.warehouse, company.pipeline)}


def test_warehouse_that_works_is_told_so(company: Company) -> None:
    """Server, role, fields with and without a column, and whether the schema is up to date."""
    create_source(company.warehouse)
    found = look(company)

    assert {part: finding.is_good for part, finding in found.items()} == {
        "warehouse": True, "source table": True, "schema capi": True,
    }  # fmt: skip
    assert "role postgres" in found["warehouse"].sentence
    assert "13 of 22 fields have a column; without" in found["source table"].sentence
    assert found["schema capi"].sentence == "there and up to date"


def test_source_table_that_is_absent_is_told(company: Company) -> None:
    """With the pipeline file and the key to correct."""
    finding = look(company)["source table"]

    assert not finding.is_good
    assert "source.table crm.lead_stage_transitions is not in the warehouse" in finding.sentence


def become(company: Company, role: str, *grants: str) -> None:
    """Let the company's connection take on a role that has some rights."""
    for grant in grants:
        company.warehouse.execute(sql.SQL(grant).format(sql.Identifier(role)))
    company.warehouse.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))


OWN = (
    "GRANT USAGE, CREATE ON SCHEMA capi TO {}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA capi TO {}",
)
USAGE, SELECT = "GRANT USAGE ON SCHEMA crm TO {}", "GRANT SELECT ON crm.lead_stage_transitions TO {}"
SOME_COLUMNS = "GRANT SELECT (transition_id, lead_id, stage, event_time) ON crm.lead_stage_transitions TO {}"
NO_TABLE_RIGHT = "lacks SELECT on crm.lead_stage_transitions"
LACKING: dict[str, tuple[tuple[str, ...], str, str]] = {  # rights of the role, what is found bad, its words
    "nothing on the source": (
        OWN, "source table", "lacks USAGE on the schema crm and SELECT on crm.lead_stage_transitions",
    ),
    "no USAGE": ((*OWN, SELECT), "source table", "lacks USAGE on the schema crm. "),
    "no SELECT": ((*OWN, USAGE), "source table", NO_TABLE_RIGHT),
    "SELECT on some columns": ((*OWN, USAGE, SOME_COLUMNS), "source table", NO_TABLE_RIGHT),
    "nothing on capi": ((USAGE, SELECT), "schema capi", "lacks rights on the schema capi"),
    "USAGE on capi alone": ((USAGE, SELECT, "GRANT USAGE ON SCHEMA capi TO {}"), "schema capi", "lacks rights"),
    "no table of capi": ((USAGE, SELECT, OWN[0]), "schema capi", "lacks rights on the schema capi or its tables"),
}  # fmt: skip


@pytest.mark.parametrize("case", LACKING)
def test_right_that_is_lacking_is_told_by_check_and_run_with_the_grant(
    company: Company, reader: str, case: str
) -> None:
    """Both say in the same words which right is lacking, on what, and for whom; what they say to run is enough."""
    grants, part, words = LACKING[case]
    company.record_sound(3)
    become(company, reader, *grants)

    found = look(company)
    with pytest.raises(ConfigurationError) as raised:
        company.extract()
    company.warehouse.execute("RESET ROLE")
    for grant in re.findall("GRANT [^;]*;", str(raised.value)):
        company.warehouse.execute(grant)
    become(company, reader)

    assert [name for name, finding in found.items() if not finding.is_good] == [part]
    assert found[part].sentence == str(raised.value)
    assert words in str(raised.value)
    assert f"role {reader} " in str(raised.value)
    assert company.extract().staged == 3
    assert all(finding.is_good for finding in look(company).values())


def test_columns_that_are_mapped_are_enough(company: Company, reader: str) -> None:
    """Nobody has to grant what the pipeline does not read."""
    company.record_sound(3)
    company.configure(source={"columns": dict.fromkeys(
        ("lead_created_at", "email", "phone", "first_name", "gender", "country", "value", "currency", "opted_out")
    )})  # fmt: skip
    become(company, reader, *OWN, USAGE, SOME_COLUMNS)

    assert look(company)["source table"].is_good
    assert company.extract().staged == 3


def test_role_that_may_only_read_is_told(company: Company) -> None:
    """Check and run say that sessions are read-only, before anything is tried."""
    create_source(company.warehouse)
    company.warehouse.execute("SET default_transaction_read_only = on")

    with pytest.raises(ConfigurationError, match="default_transaction_read_only is on") as raised:
        company.extract()

    assert look(company)["schema capi"].sentence == str(raised.value)


def test_standby_is_told_and_tried_again(company: Company) -> None:
    """After a failover the connection may lead to a standby for a while: that is no reason to give up."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        data = Path(folder) / "data"
        with running_postgres(data) as server, server.connect() as connection:
            create_source(connection)
            migrate(connection)
        (data / "standby.signal").touch()
        with running_postgres(data) as server, server.connect() as connection:
            found = {finding.part: finding for finding in check_warehouse(connection, company.pipeline)}
            with pytest.raises(WarehouseError, match="is a standby") as raised:
                migrate(connection)
            with pytest.raises(WarehouseError, match="SQLSTATE 25006"):
                execute(connection, "ledger/migrate_record", {"name": "x"})

    assert [name for name, finding in found.items() if not finding.is_good] == ["schema capi"]
    assert found["schema capi"].sentence == str(raised.value)


def test_schema_that_is_not_there_is_made_by_the_first_run(company: Company, reader: str) -> None:
    """The check changes nothing; it says whether the role may create it."""
    create_source(company.warehouse)
    company.warehouse.execute("DROP SCHEMA capi CASCADE")
    allowed = look(company)["schema capi"]
    become(company, reader)
    forbidden = look(company)["schema capi"]

    assert (allowed.is_good, allowed.sentence) == (True, "not there yet; the first run makes it")
    assert not forbidden.is_good
    assert f"lacks CREATE on the database {company.warehouse.info.dbname}" in forbidden.sentence


@pytest.mark.parametrize(
    ("statement", "is_good", "sentence"),
    [
        ("DELETE FROM capi.migration WHERE name = '0004_delivery'", True, "there; the next run adds 0004_delivery"),
        ("INSERT INTO capi.migration (name) VALUES ('9999_later')", False, "deploy the newer version"),
    ],
    ids=["older", "newer"],
)
def test_schema_of_another_version_is_told(company: Company, statement: Any, is_good: bool, sentence: str) -> None:  # noqa: FBT001 - a parameter
    """An older schema is brought up to date by the next run; a newer one needs the newer version."""
    create_source(company.warehouse)
    company.warehouse.execute(statement)
    finding = look(company)["schema capi"]

    assert finding.is_good is is_good
    assert sentence in finding.sentence
