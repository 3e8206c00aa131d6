class DataError(Exception):
    """Data that cannot be read or written: one sentence that says what is wrong and what to do."""
