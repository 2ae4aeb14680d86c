"""Turn label maps into metrics, and metrics into intervals."""
