"""Procedural clips with exact masks: the same seed always gives the same bytes."""

from uamp_data.synthetic.clip import GENERATOR_VERSION, SyntheticClip, generate_clip
from uamp_data.synthetic.families import FAMILIES

__all__ = ["FAMILIES", "GENERATOR_VERSION", "SyntheticClip", "generate_clip"]
