"""The UAMP tracker: SAM 2 with a memory you can steer."""
