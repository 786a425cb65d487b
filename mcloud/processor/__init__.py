"""What the cloud functions do with trades and candles; shipped inside, beside one cloud's adapters."""
