"""What a person does beside the daily run: `make check`, `make plan`, `make doubts`, `make erase`.

Each command prints for a person and decides nothing: the decisions are those of `crm_to_meta`. In a container of the
deployment they are `python -m commands.<name>`, with AIRFLOW_CONN_WAREHOUSE in the environment.
"""
