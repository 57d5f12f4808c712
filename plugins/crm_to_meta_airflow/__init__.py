"""Airflow's side of crm-to-meta: contexts become facts, connections become settings, errors become retries."""
