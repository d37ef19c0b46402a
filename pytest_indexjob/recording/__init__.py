"""Recorded answers: finding cassettes, reading them, answering from them."""
