"""One source in front of every HTTP client of this process, and the offline guard."""
