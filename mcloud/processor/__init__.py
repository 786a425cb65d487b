"""What the cloud functions do with trades and candles; shipped beside one cloud's adapters."""
