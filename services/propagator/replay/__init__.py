"""Replay: history read again, planned and compared first, by the same applier that the live stream uses."""
