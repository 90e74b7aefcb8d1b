"""Who operated which machine, when, and why it ended; and the tickets that open one stream each."""

from django.db import models
from django.db.models import Q

from cmdop_wire.ids import make_id


def new_session_id() -> str:
    """Return a fresh ``ses_…`` id."""
    return make_id("session")


class Session(models.Model):
    """One interactive terminal. Belongs to the workspace where it happened, also after its machine moved or went.

    ``machine_id_then`` and ``hostname`` tell which machine it was; operator columns are plain, as they were then.
    """

    public_id = models.CharField(max_length=40, unique=True, default=new_session_id)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="sessions")
    machine = models.ForeignKey("machines.Machine", on_delete=models.SET_NULL, null=True, related_name="sessions")
    machine_id_then = models.CharField(max_length=40)
    hostname = models.CharField(max_length=253)
    operator_kind = models.CharField(max_length=20)
    operator_id = models.CharField(max_length=40)  # account, or key
    operator_label = models.CharField(max_length=320)
    account_id_then = models.CharField(max_length=40, default="")  # of a person or a personal key
    credential_id = models.CharField(max_length=40, default="")
    sign_in_id = models.CharField(max_length=40, default="")
    opened_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=40, default="")
    observers_total = models.PositiveIntegerField(default=0)
    resume_hash = models.CharField(max_length=64, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["machine"], condition=Q(ended_at=None), name="one_active_session"),
        ]
        indexes = [
            models.Index(fields=["workspace", "id"], name="session_by_workspace"),
            models.Index(fields=["workspace", "machine_id_then", "id"], name="session_by_machine"),
            models.Index(fields=["workspace", "id"], condition=Q(ended_at=None), name="session_active"),
        ]


class Ticket(models.Model):
    """Opens one stream within 30 seconds, as the caller who asked for it, for one right on one machine."""

    secret_hash = models.CharField(max_length=64, unique=True)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="tickets")
    machine = models.ForeignKey("machines.Machine", on_delete=models.CASCADE, related_name="tickets")
    action = models.CharField(max_length=60)
    account_id_then = models.CharField(max_length=40, default="")
    credential_id = models.CharField(max_length=40)  # key_… or fam_…
    credential_expires_at = models.DateTimeField(null=True)  # until when the stream lives without a fresh token
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    redeemed_at = models.DateTimeField(null=True)
