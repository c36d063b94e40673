"""Floor 0: compiled programs, and what they take, told before they run."""
