"""Source `SmaEnergyMeter`."""
