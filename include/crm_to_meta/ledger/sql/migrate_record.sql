INSERT INTO capi.migration (name) VALUES (%(name)s)
