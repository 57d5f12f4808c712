SELECT failing.position, count(*) FROM ({failing}) AS failing GROUP BY failing.position
