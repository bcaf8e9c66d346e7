"""Coverage-guided fuzzing of the GGUF reader: `python -m tests.fuzz` (`make fuzz`)."""
