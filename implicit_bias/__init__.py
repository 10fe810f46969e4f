"""What does training prefer, among all the networks that fit? Measured, with intervals."""

__version__ = "0.1.0"
