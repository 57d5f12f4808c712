"""CRM stage changes to Meta's Conversions API: extract, validate, transform, load, audit.

    source table ──extract──▶ staging ──validate──▶ accepted rows ──transform──▶ chunks ──load──▶ Meta
                     │                    │                            │             │
                     ▼                    ▼                            ▼             ▼
                capi.delivery        quarantine                  capi.chunk    capi.request
                     └────────────────────┴──────── audit ─────────────┴─────────────┘

One module per step (`extract`, `validate`, `transform`, `load`, `audit`); steps never import each other, only the DAG
joins them. All state lives in the warehouse's schema `capi`; what travels between steps is a run key and row numbers.
Nothing in this package imports Airflow.
"""
