"""Parts of `pollect.support.http_server`."""
