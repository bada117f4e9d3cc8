"""Replays of history: who planned one, who else approved it, how far it is. What a replay does is the propagator's."""
