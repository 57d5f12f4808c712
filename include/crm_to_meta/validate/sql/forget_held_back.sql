TRUNCATE {held_back}
