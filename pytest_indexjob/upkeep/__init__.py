"""Care of cassettes on disk: audit and drift."""
