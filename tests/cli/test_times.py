"""Durations and moments as people type and read them: what is understood, what is refused, what is shown."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cmdop_cli import times

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let a test move the local zone: ``zone.setenv("TZ", …); time.tzset()``."""
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("24h", timedelta(hours=24)),
        (" 90d ", timedelta(days=90)),
        ("2w", timedelta(days=14)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, length: timedelta) -> None:
    assert times.parse_duration(text) == length


@pytest.mark.parametrize(
    "text",
    ["", "90", "d", "0d", "-5d", "+5d", "1.5h", "1h30m", "5 d", "5D", "5y", "9999999999s", "90000d", "\u0665d", "1e3s"],
)
def test_nothing_else_is_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        times.parse_duration(text)


@pytest.mark.parametrize(("text", "days"), [("90", 90), ("90d", 90), ("2w", 14), ("48h", 2)])
def test_days_are_whole(text: str, days: int) -> None:
    assert times.parse_days(text) == days


@pytest.mark.parametrize("text", ["36h", "1s", "0", "x"])
def test_parts_of_a_day_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        times.parse_days(text)


@pytest.mark.parametrize(
    ("text", "end", "moment"),
    [
        ("2026-03-01", False, "2026-03-01T00:00:00Z"),
        ("2026-03-01", True, "2026-03-02T00:00:00Z"),  # a date as the end is that whole day
        ("2026-03-01T08:30", False, "2026-03-01T08:30:00Z"),
        ("2026-03-01T08:30", True, "2026-03-01T08:30:00Z"),
        ("2026-03-01T08:30:15.25Z", False, "2026-03-01T08:30:15.250000Z"),
        ("2026-03-01 08:30+05:30", False, "2026-03-01T03:00:00Z"),
        ("24h", False, "2026-03-30T12:00:00Z"),
        ("30d", False, "2026-03-01T12:00:00Z"),
    ],
)
def test_a_bound_is_a_date_a_time_or_a_duration_ago(text: str, end: bool, moment: str) -> None:
    assert times.iso(times.parse_bound(text, now=NOW, end=end)) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026",
        "2026-13-01",
        "2026-02-30",
        "01.03.2026",
        "8:30",
        "1772000000",
        "90",
        "0001-01-01T00:00+23:00",
    ],
)
def test_what_cannot_be_read_is_refused_and_never_widened(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a date, time or duration"):
        times.parse_bound(text, now=NOW)


@pytest.mark.parametrize(
    ("zone_name", "day", "begins", "ends"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),  # 23 hours
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),  # 25 hours
        ("Asia/Kolkata", "2026-03-01", "2026-02-28T18:30:00Z", "2026-03-01T18:30:00Z"),
        ("America/St_Johns", "2026-07-01", "2026-07-01T02:30:00Z", "2026-07-02T02:30:00Z"),
    ],
)
def test_a_day_is_the_local_one_whatever_the_clocks_do(
    zone: pytest.MonkeyPatch, zone_name: str, day: str, begins: str, ends: str
) -> None:
    zone.setenv("TZ", zone_name)
    time.tzset()
    assert times.iso(times.parse_bound(day, now=NOW)) == begins
    assert times.iso(times.parse_bound(day, now=NOW, end=True)) == ends


@pytest.mark.parametrize("zone_name", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_the_last_days_are_of_24_hours_across_every_change_of_clocks(zone: pytest.MonkeyPatch, zone_name: str) -> None:
    zone.setenv("TZ", zone_name)
    time.tzset()
    for now in (NOW, datetime(2026, 11, 5, 12, 0, tzinfo=UTC)):
        assert times.iso(times.last_days(30, now=now)) == times.iso(now - timedelta(hours=720))


@pytest.mark.parametrize(
    ("away", "long", "narrow"),
    [
        (timedelta(days=29, hours=23, minutes=59), "in 30 days", "in 30d"),
        (timedelta(hours=1), "in 1 hour", "in 1h"),
        (timedelta(seconds=-5), "5 seconds ago", "now"),
        (timedelta(minutes=-40), "40 minutes ago", "40m ago"),
        (timedelta(days=-400), "400 days ago", "400d ago"),
    ],
)
def test_distances_read_well(away: timedelta, long: str, narrow: str) -> None:
    assert times.ends(NOW + away, now=NOW) == long
    assert times.short(NOW + away, now=NOW) == narrow


def test_without_an_end_it_never_ends() -> None:
    assert times.ends(None, now=NOW) == "never"
