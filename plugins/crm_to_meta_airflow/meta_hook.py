"""The class that Airflow's form of connections tests a connection to Meta with. The steps do not use it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from airflow.sdk import BaseHook

from crm_to_meta.errors import CrmToMetaError
from crm_to_meta_airflow.provider import CONNECTION_TYPE

_TIMEOUT_S: Final = 20.0


class MetaConversionsHook(BaseHook):
    """A connection to Meta's Conversions API.

    Args:
        meta_conn_id: id of the Airflow connection.
    """

    conn_name_attr = "meta_conn_id"
    default_conn_name = "meta_capi"
    conn_type = CONNECTION_TYPE
    hook_name = "Meta Conversions API"

    def __init__(self, meta_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.meta_conn_id = meta_conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Say whether token, dataset and permissions work, as the command `check` does; Meta processes nothing."""
        from crm_to_meta.check.checks import check_meta
        from crm_to_meta.meta.client import MetaClient
        from crm_to_meta_airflow.connections import meta_settings

        try:
            settings = meta_settings(self.meta_conn_id, needs_token=True)
            with MetaClient(settings, timeout_s=_TIMEOUT_S) as client:
                finding = check_meta(client, settings, now=datetime.now(UTC))
        except CrmToMetaError as error:
            return False, str(error)
        return finding.is_good, finding.sentence
