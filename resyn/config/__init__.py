"""Settings of every pipeline: frozen, typed, and refusing what they do not know."""
