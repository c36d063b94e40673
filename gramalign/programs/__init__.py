"""Floor 0: compiled programs, and their costs, known before they run."""
