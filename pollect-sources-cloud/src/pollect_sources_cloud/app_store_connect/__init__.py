"""App Store Connect: the daily sales report of a vendor."""
