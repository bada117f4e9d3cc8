"""Three processes (consent, propagator, audit) on four libraries (policy, keyring, runtime, devstack).

Processes never import each other; they talk by the contract in `schemas/`.
"""
