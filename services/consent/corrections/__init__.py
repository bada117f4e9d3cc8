"""Clause 5.7 from the ledger on: answers to notices, staff's part in them, duties, the certificate of a change."""
