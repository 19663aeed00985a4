"""The parts of `pollect.support.http`: messages, connections, credentials, cookies."""
