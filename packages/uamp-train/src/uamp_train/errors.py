"""The errors of training that a person can mend."""

from uamp_model.errors import UampError


class ConfigError(UampError):
    """A training configuration has an unknown key, a wrong value, or asks for what is not there."""
