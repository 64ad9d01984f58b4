"""The page at / in a real Chromium, against real servers: what a customer does, sees and survives."""
