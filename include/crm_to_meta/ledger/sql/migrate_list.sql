SELECT name FROM capi.migration ORDER BY name
