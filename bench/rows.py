"""Machines and events by the ten thousand, for ``Server.backstage``: rows like those that the server writes."""

from django.db import connection, transaction
from django.utils import timezone

from cmdop_server.audit.models import Chain, Event
from cmdop_server.machines.models import Machine
from cmdop_server.workspaces.models import Workspace
from cmdop_wire.ids import make_id


def fill(workspace: str, machines: int, events: int) -> None:
    """Add so many machines and events to a workspace; a chain made so proves nothing."""
    here, now = Workspace.objects.get(slug=workspace), timezone.now()
    names = (f"host-{number:04}" for number in range(machines))
    Machine.objects.bulk_create(
        (
            Machine(
                workspace=here,
                hostname=name,
                hostname_fold=name,
                name=name,
                name_fold=name,
                tags={"env": "prod", "region": "eu-1"},
                os="Linux",
                arch="x86_64",
                agent_version="1.0.0",
                registered_by=make_id("account"),
                registered_by_label="owner@example.com",
                registered_at=now,
                last_seen_at=now,
                metrics={"load": 0.4, "memory": 0.5},
                credential_hash=f"bench-{name}",
                credential_at=now,
            )
            for name in names
        ),
        batch_size=500,
    )
    _copy_events(here.public_id, events)


def _copy_events(workspace_id: str, count: int) -> None:
    """Copy the workspace's last event so many times, inside the database: by way of Django a million takes minutes."""
    last = Event.objects.filter(workspace_id=workspace_id).order_by("-seq")[0]
    columns = [each.column for each in Event._meta.concrete_fields if each.column != "id"]
    made = {"public_id": "'evt_bench_' || n", "seq": "seq + n"}
    chosen = ", ".join(made.get(column, column) for column in columns)
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)"
    insert = f"INSERT INTO {Event._meta.db_table} ({', '.join(columns)})"
    query = f"SELECT {chosen} FROM {Event._meta.db_table}, numbers WHERE {Event._meta.db_table}.id = %s"
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"{insert} {numbers} {query}", [count, last.pk])
        else:
            cursor.execute(f"{numbers} {insert} {query}", [count, last.pk])
        Chain.objects.filter(workspace_id=workspace_id).update(seq=last.seq + count)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # which it would do by itself a minute later
