SELECT to_regclass('capi.migration') IS NOT NULL
