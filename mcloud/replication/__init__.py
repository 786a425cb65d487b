"""Keep sites equal, prove that they are, and bring back what one lost."""
