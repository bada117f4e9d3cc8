"""The retention process: what another law makes the company keep of members who left, apart from all else (7.2)."""
