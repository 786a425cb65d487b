"""Keep sites equal, prove that they are equal, and restore data that a site lost."""
