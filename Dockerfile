# Airflow with this project's DAGs and exactly the locked packages.
FROM apache/airflow:3.3.2

COPY --chown=airflow:0 requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.txt

COPY --chown=airflow:0 dags /opt/airflow/dags
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 include /opt/airflow/include
ENV PYTHONPATH=/opt/airflow/include:/opt/airflow/plugins \
    GX_ANALYTICS_ENABLED=false
