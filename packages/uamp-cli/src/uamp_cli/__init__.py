"""The uamp command."""
