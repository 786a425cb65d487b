"""Money: list prices, and what a message costs next."""
