"""Video in and out, masks, data sets and synthetic clips for UAMP."""
