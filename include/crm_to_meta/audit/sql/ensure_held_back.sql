-- An audit that is repeated finds the list of rows held back gone; its chunks and its figures are still there.
CREATE UNLOGGED TABLE IF NOT EXISTS {held_back} (LIKE capi.held_back)
