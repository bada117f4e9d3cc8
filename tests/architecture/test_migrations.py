"""Migrations are applied by number: two of one number would leave the second one out, or stop at it."""

from collections import Counter
from pathlib import Path

SERVICES = Path(__file__).resolve().parents[2] / "services"


def test_no_two_migrations_of_a_database_share_a_number() -> None:
    found = Counter((file.parent, file.name[:4]) for file in SERVICES.rglob("migrations/*.sql"))
    assert found, "the migrations moved: look for them where they are now"
    assert [f"{folder.relative_to(SERVICES)} {number}" for (folder, number), n in found.items() if n > 1] == []
