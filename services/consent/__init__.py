"""Process 1: HTTP in, facts out. Decides in the transaction; everything leaves through the outbox."""
