"""Sources of trades: recordings, simulations and exchanges."""
