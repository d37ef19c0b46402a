"""Around one test, and around a whole run."""
