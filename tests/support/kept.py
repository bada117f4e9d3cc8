"""How long a test's client keeps an idle connection."""

from typing import Final

import httpx

KEPT: Final = httpx.Limits(keepalive_expiry=2.0)
"""Servers close an idle connection after five seconds, httpx's own limit too: a request could meet the close."""
