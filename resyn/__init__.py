"""resyn: from coarse neural-codec tokens back to natural speech."""

__version__ = "0.1.0"
