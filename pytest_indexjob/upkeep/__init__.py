"""Care of cassettes on disk: audit, and drift from the contract or an OpenAPI document."""
