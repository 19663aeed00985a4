"""Google Play: monthly statistics from the bucket of a developer account."""
