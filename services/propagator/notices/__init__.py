"""Correction notices to third parties (clause 5.7): take in, send, ask again until answered."""
