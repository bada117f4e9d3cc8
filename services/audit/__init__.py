"""Process: facts and receipts in, an append-only Merkle log with signed checkpoints out."""
