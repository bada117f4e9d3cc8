"""What each affiliate must hold now, by the ledger: digests to compare with a store, records to repair it with."""
