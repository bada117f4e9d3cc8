"""Clause 2.2: accounts that nobody uses. Off unless `services/policy/rules/dormancy.toml` turns the promise on.

`activity.py` takes the signal of use, `accounts.py` the members under an account, `scan.py` tells and lets leave.
"""
