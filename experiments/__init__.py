"""Commands and presets around gramalign: one file an experiment."""
