"""HTTP: how long web pages take, and whether they are as expected."""
