"""Members under 14 wait for a legal guardian: the guardian is named, verified, or forgotten in time (PIPA 22-2)."""
