"""What a test was told, as text and as a page."""
