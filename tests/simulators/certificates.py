"""Certificates of a throw-away authority, as good or as bad as a test needs them."""

import datetime
import ssl
from pathlib import Path

import trustme


class Authority:
    """An authority of its own; `ca_file` is what a client must trust."""

    def __init__(self, folder: Path, ca: trustme.CA | None = None) -> None:
        self._ca = ca or trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)

    def child(self, folder: Path) -> "Authority":
        """Return an authority that this one vouches for; it ends in the year 3000."""
        return Authority(folder, self._ca.create_child_ca())

    def self_signed(self, folder: Path) -> ssl.SSLContext:
        """Return the context of a server whose certificate no authority signed."""
        file = folder / "self.pem"
        file.write_bytes(self._ca.private_key_pem.bytes() + self._ca.cert_pem.bytes())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def server(
        self, *names: str, days: float | None = None, begin_days: float | None = None
    ) -> ssl.SSLContext:
        """Return the context of a server for `names`, see `issue`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issue(*names, days=days, begin_days=begin_days).configure_cert(context)
        return context

    def issue(
        self, *names: str, days: float | None = None, begin_days: float | None = None
    ) -> trustme.LeafCert:
        """Return a certificate with its key for `names`, valid until `days` from now.

        A negative number makes one that is expired. Together with it `begin_days` says in how many
        days it becomes valid; without, it is so for ten days already.
        """
        if days is None:
            return self._ca.issue_cert(*names)
        now = datetime.datetime.now(datetime.UTC)
        end = now + datetime.timedelta(days=days)
        begin = min(now, end) - datetime.timedelta(days=10)
        if begin_days is not None:
            begin = now + datetime.timedelta(days=begin_days)
        return self._ca.issue_cert(*names, not_before=begin, not_after=end)

    def write_pem(self, file: Path, *names: str, days: float | None = None) -> Path:
        """Write key, certificate and chain for `names` into `file` and return it, see `issue`."""
        self.issue(*names, days=days).private_key_and_cert_chain_pem.write_to_path(file)
        return file
