"""What a database looks like after one way of filling it. Run: python -m tests.server.schemas create|migrate"""

import json
import sys
from typing import Any


def described() -> dict[str, Any]:
    """Return every table's columns and constraints, whatever order they were made in."""
    from django.db import connection

    found: dict[str, Any] = {}
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            columns = connection.introspection.get_table_description(cursor, table)
            constraints = connection.introspection.get_constraints(cursor, table)
            found[table] = {
                "columns": {each.name: [str(part) for part in each[1:]] for each in columns},
                "constraints": sorted(
                    json.dumps([each["columns"], {**each, "columns": 0}], default=str, sort_keys=True)
                    for each in constraints.values()
                ),
            }
            if connection.vendor == "postgresql":
                cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = %s", [table])
            else:
                cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = %s", [table])
            found[table]["indexes"] = sorted(str(row[0]) for row in cursor.fetchall())
        cursor.execute("SELECT app, name FROM django_migrations")
        found["migrations"] = sorted(cursor.fetchall())
    return found


def main(way: str) -> None:
    """Fill the database that the environment names and print what it looks like."""
    import django

    django.setup()
    from django.core.management import call_command

    from cmdop_server import schema

    if way == "create":
        schema.create(schema.known_migrations())
    else:
        call_command("migrate", verbosity=0)
    print(json.dumps(described()))


if __name__ == "__main__":
    main(sys.argv[1])
