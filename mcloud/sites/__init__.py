"""Sites as they are configured, deployed and opened, on real and on embedded clouds."""
