"""The pages inside Airflow: thin routes over the core's `report`, locked by Airflow's own login and rights."""
