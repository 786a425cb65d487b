"""Where trades come from: recordings and simulations."""
