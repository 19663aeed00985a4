"""Source `Tide` for pollect."""
