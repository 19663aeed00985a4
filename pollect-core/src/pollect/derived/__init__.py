"""What follows from a config and the metrics its sources declare: rules and dashboards."""
