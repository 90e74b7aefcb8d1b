"""The table in which a database tells what it is: which secrets it was made with, whether it is a copy. No Django."""

TABLE = "cmdop_stamp"
CREATE = f"CREATE TABLE IF NOT EXISTS {TABLE} (name varchar(40) PRIMARY KEY, value varchar(200) NOT NULL)"
BACKUP = "backup"  # when this copy was taken, in ISO 8601; only a copy that nobody has started has it
PLACE = "place"  # PostgreSQL: where this very row was written, which a dump does not bring along
