"""TP-Link EAP: a stand-alone wireless access point."""
