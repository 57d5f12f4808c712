DELETE FROM {staging} WHERE row_no BETWEEN %(first_row)s AND %(last_row)s
