"""The two-year check of a reception consent (Network Act 50(8)): is one overdue, so that advertisements must not go?"""

from datetime import datetime

import asyncpg

from services.consent.store import SQL
from services.policy import marketing
from services.runtime.postgres import Connection


async def overdue(
    connection: Connection | asyncpg.Pool, member_ref: str, sender: str, medium: marketing.MediumId, at: datetime
) -> bool:
    """Say whether a two-year check is overdue at an instant, now or past, for a consent that this sending needs.

    A check is done when its message was sent: silence keeps the consent, a check that never went out blocks. What
    has no live consent has no check to be late with; `marketing.may_send` refuses it for the consent itself.
    """
    needed = list(marketing.reception(medium, at))
    rows = await connection.fetch(SQL["message_reconfirmation_state"], member_ref, sender, needed, at)
    return not all(marketing.reconfirmed(row["given_at"], row["checks"], at) for row in rows)
