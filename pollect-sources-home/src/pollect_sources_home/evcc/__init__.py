"""evcc: a controller that charges cars, and heats, with the sun."""
