"""Runs sources on time and hands their values to writers."""
