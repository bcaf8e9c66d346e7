"""The LocalAI stand-in: a server image and a backend image."""
