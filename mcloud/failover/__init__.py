"""Which site leads, who decides it, and what is owed to a site that was away."""
