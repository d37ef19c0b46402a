"""The clock of a test."""
