"""What both cloud functions do with trades; shipped inside them, beside one cloud's adapters."""
