"""Source `ZodiacPool`; see `source`."""
