"""Draw figures, and write the report page."""
