"""Events and the head of each workspace's chain. Plain ids, no foreign keys: it outlives what it describes."""

from django.db import models

from cmdop_wire.ids import make_id


def new_event_id() -> str:
    """Return a fresh ``evt_…`` id."""
    return make_id("event")


class Chain(models.Model):
    """The head of one workspace's log; locked by whoever appends, so the sequence has no gaps (D-30).

    ``public_key`` is the key that signed. ``latest_at`` and ``clock_skew`` (microseconds) bound how far an event's
    time ever lay before that of an earlier one, so that a question about time becomes a range of the sequence.
    """

    workspace_id = models.CharField(max_length=40, primary_key=True)
    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="")
    signature = models.CharField(max_length=128, default="")
    signed_at = models.DateTimeField(null=True)
    public_key = models.CharField(max_length=64, default="")
    latest_at = models.DateTimeField(null=True)
    clock_skew = models.BigIntegerField(default=0)


class Event(models.Model):
    """One entry: who did what to what, from where, with which result; never updated, never deleted by a person."""

    public_id = models.CharField(max_length=40, unique=True, default=new_event_id)
    workspace_id = models.CharField(max_length=40)
    seq = models.BigIntegerField()
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=40)
    actor_label = models.CharField(max_length=320)
    credential_id = models.CharField(max_length=40, null=True)
    action = models.CharField(max_length=60)
    noun = models.CharField(max_length=60)  # the action's part before the first dot, for `member.*`; not hashed
    result = models.CharField(max_length=10)
    reason = models.CharField(max_length=300, default="")
    target_type = models.CharField(max_length=30)
    target_id = models.CharField(max_length=80)
    target_label = models.CharField(max_length=320, default="")
    changes = models.JSONField(default=dict)
    request_id = models.CharField(max_length=80, default="")
    address = models.CharField(max_length=60, default="")
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace_id", "seq"], name="event_sequence_is_unique"),
        ]
        indexes = [
            models.Index(fields=["workspace_id", "actor_id", "seq"], name="event_by_actor"),
            models.Index(fields=["workspace_id", "actor_label", "seq"], name="event_by_actor_label"),
            models.Index(fields=["workspace_id", "action", "seq"], name="event_by_action"),
            models.Index(fields=["workspace_id", "noun", "seq"], name="event_by_noun"),
            models.Index(fields=["workspace_id", "target_id", "seq"], name="event_by_target"),
            models.Index(fields=["workspace_id", "target_label", "seq"], name="event_by_target_label"),
            models.Index(fields=["workspace_id", "at", "seq"], name="event_by_time"),
        ]


class Denial(models.Model):
    """Coalesces refusals: one event per actor, action and minute (D-30)."""

    workspace_id = models.CharField(max_length=40)
    actor_id = models.CharField(max_length=40)
    action = models.CharField(max_length=60)
    minute = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace_id", "actor_id", "action", "minute"], name="one_denial_a_minute"
            ),
        ]
