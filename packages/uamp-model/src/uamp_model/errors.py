"""The errors that UAMP raises on purpose: every message is one sentence that says what is wrong and what to do."""


class UampError(Exception):
    """Base of every error that UAMP raises on purpose."""


class InputError(UampError):
    """The input or the way it was asked for cannot be used: a prompt, a frame, a name, an option."""


class CheckpointError(UampError):
    """Weights could not be found, fetched or read, or belong to another model."""


class DeviceError(UampError):
    """The device asked for is not there or cannot do what was asked."""
