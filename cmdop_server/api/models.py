"""Answers remembered for ``Idempotency-Key``, written in the transaction of the effect they tell of."""

from django.db import models


class IdempotencyRecord(models.Model):
    """One answered request; ``scope`` hashes caller, method, path and the caller's key, so tenants never meet."""

    scope = models.CharField(max_length=64, unique=True)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.JSONField(default=dict)  # without the secret
    created_at = models.DateTimeField(db_index=True)
