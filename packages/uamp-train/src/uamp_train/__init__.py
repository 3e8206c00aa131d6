"""Training loop of UAMP: nano from scratch, light layers on a frozen SAM 2."""
