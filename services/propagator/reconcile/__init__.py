"""Reconcile: a store held against the ledger by salted digests of ranges; drift is found, explained and repaired."""
