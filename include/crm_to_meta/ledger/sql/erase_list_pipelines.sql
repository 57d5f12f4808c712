SELECT DISTINCT pipeline FROM capi.run ORDER BY pipeline
