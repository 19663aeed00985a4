"""SMA inverters by Modbus TCP."""
