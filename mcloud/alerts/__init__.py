"""What must not go unnoticed: rules over the figures of a snapshot, and what becomes of them."""
