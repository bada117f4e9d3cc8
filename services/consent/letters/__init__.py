"""What became of dead letters: sent again or given up, by whom, why. The letters themselves stay on their topics."""
