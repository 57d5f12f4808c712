"""The pages inside Airflow: who may see what, what they say, and that a decision made there is in the ledger."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from pages_client import HOST, ROLES, ROOT, People, visiting

from crm_to_meta.ledger.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import AirflowHome

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

PIPELINE: Final = "conversion_leads"
DAG_ID: Final = f"crm_to_meta_{PIPELINE}"
RUN_KEY: Final = "20260101-12345678-1"
RUN_ID: Final = "scheduled__2026-01-01T00:00:00+00:00"
MARKUP: Final = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
SECRET: Final = "p4ssw0rd-of-jane"
SETTLE: Final = f"/dags/{DAG_ID}/doubts/{RUN_KEY}/arrived?place=run"
PAGES: Final = (
    "/",
    "/card",
    f"/dags/{DAG_ID}",
    f"/dags/{DAG_ID}/runs/{RUN_ID}",
    f"/dags/{DAG_ID}/reports/{RUN_KEY}",
    f"/dags/{DAG_ID}/reports/{RUN_KEY}/rows.csv",
    "/static/colours.css",
    "/static/pages.css",
    "/static/pages.js",
    "/static/card.js",
)


@pytest.fixture(scope="module")
def people(airflow_home: AirflowHome) -> Iterator[People]:
    """Visitors of one api-server for all tests."""
    with pytest.MonkeyPatch.context() as settings, visiting(settings) as visitors:
        yield visitors


@pytest.fixture
def capi(
    postgres: EmbeddedPostgres, warehouse: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> Connection:
    """The test's own warehouse, known to Airflow, with one run that left three events in doubt."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.airflow_connection(database))
    migrate(warehouse)
    add_run(warehouse)
    return warehouse


def add_run(warehouse: Connection, *, run_key: str = RUN_KEY, pipeline: str = PIPELINE, stage: str = "new") -> None:
    """Put a run on record that sent three events and got no answer."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    figures = {"by_stage": {stage: {"in_doubt": 3}}, "by_reason": {"outcome_unknown": 3}}
    warehouse.execute(
        """
        INSERT INTO capi.run (run_key, pipeline, mode, dag_run_id, run_type, pass_no, window_start, window_end,
            is_sweep, configuration_digest, state, lease_until, extracted, in_doubt, figures, finished_at)
        VALUES (%s, %s, 'live', %s, 'scheduled', 1, %s, %s, true, 'digest', 'failed', now(), 3, 3, %s, now())
        """,
        [run_key, pipeline, RUN_ID, end - timedelta(days=8), end, json.dumps(figures)],
    )
    warehouse.execute(
        """
        INSERT INTO capi.delivery (event_id, pipeline, transition_id, stage, event_time, status, reason, run_key,
            doubts, doubted_at)
        SELECT gen_random_uuid(), %s, 't-' || number, %s, %s, 'in_doubt', 'outcome_unknown', %s, 1, now()
        FROM generate_series(1, 3) AS number
        """,
        [pipeline, stage, end - timedelta(hours=6), run_key],
    )


def statuses(warehouse: Connection) -> dict[str, int]:
    """Return the number of events by status."""
    return dict(warehouse.execute("SELECT status, count(*) FROM capi.delivery GROUP BY 1").fetchall())


# Who may see what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_each_page_needs_a_login(people: People, capi: Connection, path: str) -> None:
    """Nobody sees anything without a login, and every role of Airflow sees every page of its DAGs."""
    found = {role: people.get(path, role).status_code for role in (None, *ROLES)}

    assert found == {None: 401, "viewer": 200, "user": 200, "op": 200, "admin": 200}


def test_every_route_is_among_these_pages(people: People) -> None:
    """A route that is added needs its line above; none describes itself to anybody."""
    app: Any = next(route.app for route in people.client.app.routes if getattr(route, "path", "") == ROOT)
    shapes = {route.path for route in app.routes if "GET" in route.methods}

    assert shapes == {
        "/",
        "/card",
        "/dags/{dag_id}",
        "/dags/{dag_id}/runs/{run_id}",
        "/dags/{dag_id}/reports/{run_key}",
        "/dags/{dag_id}/reports/{run_key}/rows.csv",
        "/static/{name}",
    }
    assert {people.get(path, None).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}


def test_static_files_are_those_of_the_folder_alone(people: People) -> None:
    """No path leads out of the folder."""
    names = ("app.py", "..%2Fapp.py", "../app.py", "%2e%2e/app.py", "pages.css/../../app.py")

    assert {people.get(f"/static/{name}", "admin").status_code for name in names} == {404}


def test_dags_that_somebody_may_not_see_are_left_out(
    people: People, capi: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Airflow's auth manager denies is on no page: neither named nor answered."""
    from airflow.api_fastapi.app import get_auth_manager

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", lambda **_: False)

    assert PIPELINE not in people.get("/").text
    assert people.get("/card").json() == {"pipelines": []}
    assert {people.get(path).status_code for path in PAGES if path.startswith("/dags/")} == {403}
    assert "lacks the right" in people.get(f"/dags/{DAG_ID}").text


def test_no_page_lets_a_script_of_others_in(people: People, capi: Connection) -> None:
    """Scripts and styles are files of this project; other sites can neither frame a page nor learn its address."""
    for path in PAGES:
        answer = people.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe-inline" not in policy or path.endswith(RUN_KEY)  # the report has its style within
        assert not re.search(r"script-src[^;]*unsafe", policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
        if path.startswith(("/dags", "/static/pages.css")) or path == "/":
            assert not re.search(r"<script(?! src=)|\son[a-z]+=|javascript:", answer.text)


def test_rows_behind_the_reasons_are_a_file(people: People, capi: Connection) -> None:
    """The report leads to the transition ids behind its reasons; the file of another pipeline's run is not given."""
    add_run(capi, run_key="20261123-5678abcd-1", pipeline="another")
    report = people.get(f"/dags/{DAG_ID}/reports/{RUN_KEY}")
    answer = people.get(f"/dags/{DAG_ID}/reports/{RUN_KEY}/rows.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))

    assert f'href="{RUN_KEY}/rows.csv"' in report.text
    assert answer.headers["content-type"].startswith("text/csv")
    assert f"conversion_leads-{RUN_KEY}.csv" in answer.headers["content-disposition"]
    assert {row["transition_id"] for row in rows} == {"t-1", "t-2", "t-3"}
    assert {row["reason"] for row in rows} == {"outcome_unknown"}
    assert people.get(f"/dags/{DAG_ID}/reports/20261123-5678abcd-1/rows.csv").status_code == 404


# What pages say -------------------------------------------------------------------------------------------------------


def test_tab_of_a_foreign_dag_asks_no_warehouse(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a DAG that is not of this project the tab says so, whether or not there is a warehouse."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "not even a connection")

    for path in ("/dags/somebody_elses", "/dags/somebody_elses/runs/manual__1"):
        answer = people.get(path)
        assert answer.status_code == 200
        assert "This DAG is not one of crm-to-meta" in answer.text
    assert "It forgets people" in people.get("/dags/crm_to_meta_erase").text


def test_empty_warehouse_says_how_to_begin(
    people: People, postgres: EmbeddedPostgres, warehouse: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first run the overview says what to do, and changes nothing in the warehouse."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.airflow_connection(database))

    pages = [people.get("/").text, people.get(f"/dags/{DAG_ID}").text]

    assert all("There has been no run yet" in page for page in pages)
    assert warehouse.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'capi'").fetchone() == (0,)


def test_unreachable_warehouse_costs_its_own_card(
    people: People, capi: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are shown; the cause is a sentence without login or password; a broken file says what is wrong."""
    text = "start_date: 2026-01-01\nstages: {new: Lead}\n"
    (tmp_path / "conversion_leads.yaml").write_text(text)
    (tmp_path / "far_away.yaml").write_text(f"{text}connections: {{warehouse: far_away}}\n")
    (tmp_path / "broken.yaml").write_text(f"{text}colour: blue\n")
    monkeypatch.setenv("CRM_TO_META_PIPELINES", str(tmp_path))
    away = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "jane", "password": SECRET, "schema": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_FAR_AWAY", json.dumps(away))

    page = people.get("/").text
    tab = people.get(f"/dags/crm_to_meta_far_away/runs/{RUN_ID}")

    assert "3 events in doubt" in page
    assert "No connection to the warehouse of Airflow connection <code>far_away</code>" in page
    assert "colour" in page
    assert "nothing listens there" in tab.text
    assert tab.status_code == 503
    assert SECRET not in page + tab.text
    assert "jane" not in page + tab.text


def test_run_that_recorded_nothing_is_told_apart(
    people: People, capi: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that failed early, one that has just begun, and one that Airflow does not know, each in its words."""
    from crm_to_meta_airflow.pages import run_tab

    said = {}
    for state in ("failed", "running", "success", None):
        monkeypatch.setattr(run_tab, "read_run_state", lambda *_, state=state: state)
        said[state] = people.get(f"/dags/{DAG_ID}/runs/other").text

    assert "failed before it had recorded anything" in said["failed"]
    assert "Open this tab again" in said["running"]
    assert "ledger_days" in said["success"]
    assert "Airflow has no such run" in said[None]


def test_run_tab_shows_all_passes(people: People, capi: Connection) -> None:
    """The newest pass is open, earlier ones are folded away; each has its report, and no other pipeline's."""
    capi.execute(
        "INSERT INTO capi.run (run_key, pipeline, mode, dag_run_id, run_type, pass_no, window_start, window_end,"
        " is_sweep, configuration_digest, state, lease_until)"
        " SELECT '20260101-12345678-2', pipeline, mode, dag_run_id, run_type, 2, window_start,"
        " window_end, is_sweep, configuration_digest, 'succeeded', lease_until FROM capi.run"
    )
    add_run(capi, run_key="20260101-99999999-1", pipeline="another")

    page = people.get(f"/dags/{DAG_ID}/runs/{RUN_ID}").text
    reports = re.findall(r'<iframe class="report".*?src="([^"]+)"', page)

    assert reports == [f"{ROOT}/dags/{DAG_ID}/reports/20260101-12345678-{number}" for number in (2, 1)]
    assert page.index('<details class="pass"') > page.index(reports[0])
    assert "Nothing new" in people.get(reports[0].removeprefix(ROOT)).text
    assert people.get(f"/dags/{DAG_ID}/reports/20260101-99999999-1").status_code == 404


def test_hostile_names_are_harmless(people: People, capi: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Markup in a stage, a run id, a reason, a DAG's id or the name of whoever decided is text on every page."""
    capi.execute("UPDATE capi.delivery SET stage = %s", [MARKUP])
    figures = {"by_stage": {MARKUP: {"in_doubt": 3}}, "by_reason": {}}
    capi.execute(
        "UPDATE capi.run SET stop_reason = %s, dag_run_id = %s, figures = %s", [MARKUP, MARKUP, json.dumps(figures)]
    )
    capi.execute(
        "INSERT INTO capi.decision (run_key, decision, events, decided_by) VALUES (%s, 'send', 1, %s)",
        [RUN_KEY, MARKUP],
    )
    from urllib.parse import quote

    paths = [
        "/",
        f"/dags/{DAG_ID}",
        f"/dags/{DAG_ID}/runs/{quote(MARKUP, safe='')}",
        f"/dags/{DAG_ID}/reports/{RUN_KEY}",
    ]
    paths += [f"/dags/{quote(MARKUP, safe='')}", f"/?decision={quote(MARKUP)}&settled={quote(MARKUP)}"]
    pages = [people.get(path).text for path in paths]

    assert "alert(2)" in pages[0]
    assert not [page for page in pages if "<img" in page or "<script>" in page]


# Decisions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["user", "op", "admin"])
def test_decision_is_in_the_ledger_with_who_made_it(people: People, capi: Connection, role: str) -> None:
    """Whoever may edit runs settles a run's doubts; the page that it leads back to says so, and who it was."""
    answer = people.post(SETTLE, role)
    back = people.get(answer.headers["location"].removeprefix(ROOT)).text

    assert answer.status_code == 303
    assert statuses(capi) == {"delivered": 3}
    assert capi.execute("SELECT run_key, decision, events, decided_by FROM capi.decision").fetchall() == [
        (RUN_KEY, "arrived", 3, role)
    ]
    assert "3 events are now on record as delivered." in back
    assert f"<td>{role}</td>" in back
    assert "data-doubt" not in back


def test_decision_to_send_again_leaves_it_to_the_next_run(people: People, capi: Connection) -> None:
    """They are pending, and the overview says that they wait; a second decision finds nothing to settle."""
    answer = people.post(f"/dags/{DAG_ID}/doubts/{RUN_KEY}/send")
    page = people.get(answer.headers["location"].removeprefix(ROOT)).text
    again = people.post(SETTLE).headers["location"]

    assert statuses(capi) == {"pending": 3}
    assert "3 events wait to be sent" in page
    assert again.endswith("settled=0")
    assert "Nothing was changed" in people.get(again.removeprefix(ROOT)).text


def test_who_may_only_see_decides_nothing(people: People, capi: Connection) -> None:
    """A viewer sees the doubts and no buttons, and is refused; so is somebody without a login."""
    page = people.get(f"/dags/{DAG_ID}/runs/{RUN_ID}", "viewer").text

    assert "3 events in doubt" in page
    assert "<form" not in page
    assert "<form" in people.get(f"/dags/{DAG_ID}/runs/{RUN_ID}", "user").text
    assert people.post(SETTLE, "viewer").status_code == 403
    assert people.post(SETTLE, None).status_code == 401
    assert statuses(capi) == {"in_doubt": 3}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": ""},
        {"origin": "null"},
        {"origin": f"http://{HOST}.evil.example"},
        {"origin": f"http://{HOST}:8081"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
    ids=lambda headers: "-".join(f"{name}={value}" for name, value in headers.items()),
)
def test_decision_of_another_site_is_refused(people: People, capi: Connection, headers: dict[str, str]) -> None:
    """A form that another page sends in the name of who is logged in changes nothing."""
    answer = people.post(SETTLE, "admin", **headers)

    assert answer.status_code == 403
    assert "did not come from this page" in answer.text
    assert statuses(capi) == {"in_doubt": 3}


def test_decision_from_the_public_address_is_taken(people: People, capi: Connection) -> None:
    """Behind a proxy the page's address is Airflow's base URL."""
    assert people.post(SETTLE, origin="http://localhost:8080").status_code == 303


def test_decision_is_about_runs_of_that_dag(people: People, capi: Connection, tmp_path: Path) -> None:
    """A run of another pipeline is not found, whatever the right to this one; nor is a word that is no decision."""
    add_run(capi, run_key="20260101-99999999-1", pipeline="another")

    assert people.post(f"/dags/{DAG_ID}/doubts/20260101-99999999-1/send").status_code == 404
    assert people.post(f"/dags/somebody_elses/doubts/{RUN_KEY}/send").status_code == 404
    assert people.post(f"/dags/{DAG_ID}/doubts/{RUN_KEY}/forget").status_code == 422
    assert people.get(SETTLE, "admin").status_code == 405
    assert statuses(capi) == {"in_doubt": 6}


# The payload of a preview ---------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_preview_shows_the_payload(people: People, warehouse: Connection, run_dag: Callable[..., Any]) -> None:
    """Events as they would be sent, what was left out and why, a curl command without the token; no click id."""
    raw_click = "fb.1.1758000000000.IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk"
    warehouse.execute("CREATE SCHEMA crm")
    warehouse.execute(
        "CREATE TABLE crm.lead_stage_transitions (transition_id text, lead_id bigint, stage text,"
        " event_time timestamptz, email text, phone text, fbc text)"
    )
    warehouse.execute(
        "INSERT INTO crm.lead_stage_transitions SELECT 't-' || n, 1234567890123450 + n, 'new',"
        " now() - interval '1 day', 'jane' || n || '@example.com', 'not a phone', CASE n WHEN 3 THEN %s END"
        " FROM generate_series(1, 3) AS n",
        [raw_click],
    )

    run = run_dag(mode="preview")
    page = people.get(f"/dags/{DAG_ID}/runs/{run.run_id}").text

    assert "What would be sent: 3 events, and nothing was" in page
    assert page.count('<details class="event"') == 2
    assert "1 carry a click id" in page or "1 carries a click id" in page
    assert "1234567890123451" in page
    assert "1234567890123453" not in page
    assert "Left out: Phone" in page
    assert "curl -X POST" in page
    assert "$META_ACCESS_TOKEN" in page
    assert not [value for value in (raw_click, "jane1@", "not a phone", "stand-in-token") if value in page]


def test_run_without_a_token_is_open_at_once(
    people: People, capi: Connection, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that fails before it has recorded anything is on the overview, by what Airflow knows, and on its tab."""
    extra = {"dataset_id": "1", "crm_name": "CRM"}
    monkeypatch.setenv("AIRFLOW_CONN_META_CAPI", json.dumps({"conn_type": "generic", "extra": extra}))

    run = run_dag(mode="live")
    page = people.get(f"/dags/{DAG_ID}").text

    assert run.state == "failed"
    assert "The newest run failed before it had recorded anything" in page
    assert f'data-airflow="dags/{DAG_ID}/runs/{run.run_id.replace("+", "%2B").replace(":", "%3A")}"' in page
    assert "<dt>Next run</dt>" in page
    assert "failed before it had recorded anything" in people.get(f"/dags/{DAG_ID}/runs/{run.run_id}").text
