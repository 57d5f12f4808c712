SELECT count(*) FROM {source} WHERE {in_window}
