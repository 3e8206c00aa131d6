"""Video object segmentation metrics and protocols for UAMP."""
