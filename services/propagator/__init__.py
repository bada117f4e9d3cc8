"""Process: facts to every affiliate's member store, correction notices to third parties, receipts out."""
