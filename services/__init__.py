"""Four processes (consent, propagator, audit, retention) on four libraries (policy, keyring, runtime, devstack).

Processes never import each other; they talk by the contract in `schemas/`.
"""
