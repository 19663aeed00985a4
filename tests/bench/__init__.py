"""The figures of pollect, measured beside 1.x and the peers that are installed.

`make bench` runs all parts and prints one table each. Nothing here gates a test run.
"""
