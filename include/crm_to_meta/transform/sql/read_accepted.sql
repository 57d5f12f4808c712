SELECT {columns}
FROM {staging} AS staged
WHERE row_no BETWEEN %(first_row)s AND %(last_row)s
    AND NOT EXISTS (SELECT FROM {held_back} AS held_back WHERE held_back.row_no = staged.row_no)
ORDER BY row_no
