"""Writer `Mqtt`: the latest value of every series as a retained message."""
