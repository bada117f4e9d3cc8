"""A synthetic member per affiliate whose changes go the whole way, so that a silent stream is noticed."""
