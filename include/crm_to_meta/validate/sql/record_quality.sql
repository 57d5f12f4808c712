INSERT INTO capi.quality (run_key, position, expectation, column_name, reason, description, severity, checked, failed,
    success, observed)
VALUES (%(run_key)s, %(position)s, %(expectation)s, %(column_name)s, %(reason)s, %(description)s, %(severity)s,
    %(checked)s, %(failed)s, %(success)s, %(observed)s)
