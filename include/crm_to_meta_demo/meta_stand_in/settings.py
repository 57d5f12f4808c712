"""The settings of the stand-in, which a test can change.

PUT `/_stand_in/settings` with the members to change, GET to read them, DELETE to restore those of the start.
"""

from __future__ import annotations

import json
import time
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

SERVED_VERSIONS: Final = frozenset({"v24.0", "v25.0", "v26.0"})  # Meta, "Versions", as of September 2026
DEFAULT_DATASET_ID: Final = "1261294122522559"
DEFAULT_TOKEN: Final = "stand-in-token"
DEFAULT_EXPIRED_TOKEN: Final = "expired-token"
FULL_PERCENT: Final = 100


class Load(BaseModel):
    """The used share of a limit, in percent. Names are those of Meta's page "Rate Limits"."""

    model_config = ConfigDict(extra="forbid")

    call_count: float = 0
    total_cputime: float = 0
    total_time: float = 0

    def raise_by(self, percent: float) -> dict[str, int]:
        return {
            name: min(100, int(value + percent))
            for name, value in self.model_dump(include=set(Load.model_fields)).items()
        }


class BusinessLoad(Load):
    """An entry of x-business-use-case-usage. The time to regain access is in minutes, and 0 below the limit."""

    business_id: str = "1000000000000001"
    type: str = "ads_management"
    estimated_time_to_regain_access: int = 0
    ads_api_access_tier: str = "standard_access"


class AdAccountLoad(BaseModel):
    """The header x-ad-account-usage. The time until the reset is in seconds."""

    model_config = ConfigDict(extra="forbid")

    acc_id_util_pct: float = 0
    reset_time_duration: int = 0


class Usage(BaseModel):
    """The usage headers of each answer. It is not confirmed which of them Meta's /events sends."""

    model_config = ConfigDict(extra="forbid")

    app: Load | None = None
    business: BusinessLoad | None = None
    ad_account: AdAccountLoad | None = None
    rise_per_request: float = Field(default=0, ge=0, description="percent points added with each request")

    def make_headers(self, requests_before: int) -> dict[str, str]:
        rise = self.rise_per_request * requests_before
        headers: dict[str, str] = {}
        if self.app is not None:
            headers["x-app-usage"] = json.dumps(self.app.raise_by(rise))
        if self.business is not None:
            load = self.business.raise_by(rise)
            regain = self.business.estimated_time_to_regain_access if max(load.values()) >= FULL_PERCENT else 0
            plain = self.business.model_dump(include={"type", "ads_api_access_tier"})
            entry = {**plain, **load, "estimated_time_to_regain_access": regain}
            headers["x-business-use-case-usage"] = json.dumps({self.business.business_id: [entry]})
        if self.ad_account is not None:
            percent = min(FULL_PERCENT, self.ad_account.acc_id_util_pct + rise)
            headers["x-ad-account-usage"] = json.dumps({**self.ad_account.model_dump(), "acc_id_util_pct": percent})
        return headers


class Settings(BaseModel):
    """All settings. Tokens can be set but not read."""

    model_config = ConfigDict(extra="forbid")

    tokens: list[SecretStr] = [SecretStr(DEFAULT_TOKEN)]
    expired_tokens: list[SecretStr] = Field(
        default=[SecretStr(DEFAULT_EXPIRED_TOKEN)], description="answered by 190/463"
    )
    powerless_tokens: list[SecretStr] = Field(default=[], description="lack the permission; answered by 200")
    app_secret: SecretStr | None = Field(default=None, description="if set, requests must carry its proof")
    dataset_ids: frozenset[str] = frozenset({DEFAULT_DATASET_ID})
    versions: frozenset[str] = SERVED_VERSIONS
    deleted_lead_ids: frozenset[int] = Field(default=frozenset(), description="answered by 100/2804036")
    poisoned_event_ids: dict[str, int] = Field(
        default={}, description="by event_id, the subcode that refuses its request"
    )
    usage: Usage | None = None
    latency_ms: int = Field(default=0, ge=0, le=60_000, description="the least time that an answer takes")
    only_counts: bool = Field(
        default=False,
        description="for benchmarks: events are only counted, so that the stand-in is not the slow part",
    )
    now_unix_s: int | None = Field(default=None, description="a fixed time instead of the real clock")
    now_offset_s: int = Field(default=0, description="seconds added to the clock")

    def change(self, changes: Settings) -> Settings:
        """Return the settings with those that were given in `changes` replaced."""
        return self.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})

    def read_clock(self) -> float:
        """Return the time of the stand-in's clock in seconds since 1970."""
        return (time.time() if self.now_unix_s is None else self.now_unix_s) + self.now_offset_s
