"""Real servers that begin with TLS when asked, each with the key and certificate of one file.

All run in the foreground on a free port of 127.0.0.1, which is yielded, with files of their own.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.simulators.daemons import find_program, free_port, run_daemon

IS_ROOT = os.geteuid() == 0


@contextlib.contextmanager
def run_dovecot(folder: Path, pem: Path) -> Iterator[dict[str, int]]:
    """Run a dovecot that speaks IMAP, POP3 and LMTP; yields the port of each."""
    program = find_program("dovecot", "dovecot-imapd, dovecot-pop3d and dovecot-lmtpd")
    folder.chmod(0o755)
    ports = {"imap": free_port(), "pop3": free_port(), "lmtp": free_port()}
    (folder / "dovecot.conf").write_text(
        f"""
protocols = imap pop3 lmtp
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
ssl = yes
ssl_cert = <{pem}
ssl_key = <{pem}
listen = 127.0.0.1
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {ports["imap"]}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {ports["pop3"]}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {ports["lmtp"]}
  }}
}}
passdb {{
  driver = static
  args = password=x
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={folder}
}}
"""
    )
    with run_daemon([program, "-F", "-c", str(folder / "dovecot.conf")], folder, *ports.values()):
        yield ports


@contextlib.contextmanager
def run_slapd(folder: Path, pem: Path) -> Iterator[int]:
    """Run an OpenLDAP server."""
    program, port = find_program("slapd", "slapd"), free_port()
    config = folder / "slapd.conf"
    config.write_text(
        f"pidfile {folder}/pid\nTLSCACertificateFile {pem}\n"
        f"TLSCertificateFile {pem}\nTLSCertificateKeyFile {pem}\n"
    )
    command = [program, "-h", f"ldap://127.0.0.1:{port}", "-f", str(config), "-d", "0"]
    with run_daemon(command, folder, port):
        yield port


@contextlib.contextmanager
def run_aiosmtpd(folder: Path, pem: Path) -> Iterator[int]:
    """Run a mail server."""
    port = free_port()
    command = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}"]
    with run_daemon([*command, "--tlscert", str(pem), "--tlskey", str(pem)], folder, port):
        yield port


@contextlib.contextmanager
def run_vsftpd(folder: Path, pem: Path) -> Iterator[int]:
    """Run an FTP server."""
    program, port = find_program("vsftpd", "vsftpd"), free_port()
    config = folder / "vsftpd.conf"
    config.write_text(
        f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\n"
        "run_as_launching_user=YES\nseccomp_sandbox=NO\nanonymous_enable=YES\n"
        f"anon_root={folder}\nsecure_chroot_dir={folder}\nssl_enable=YES\nallow_anon_ssl=YES\n"
        f"rsa_cert_file={pem}\nrsa_private_key_file={pem}\n"
    )
    with run_daemon([program, str(config)], folder, port):
        yield port


@contextlib.contextmanager
def run_mariadb(folder: Path, pem: Path | None) -> Iterator[int]:
    """Run a MariaDB without any table, which greets all the same; None is without TLS."""
    program, port = find_program("mariadbd", "mariadb-server-core"), free_port()
    data = folder / "data"
    data.mkdir()
    tls = [f"--ssl-cert={pem}", f"--ssl-key={pem}"] if pem else ["--skip-ssl"]
    command = [
        program,
        "--no-defaults",  # must come first
        *(["--user=root"] if IS_ROOT else []),
        "--bind-address=127.0.0.1",
        f"--port={port}",
        f"--datadir={data}",
        f"--socket={folder}/socket",
        f"--pid-file={folder}/pid",
        "--skip-grant-tables",
        "--skip-innodb",
        "--default-storage-engine=MyISAM",
        *tls,
    ]
    with run_daemon(command, folder, port):
        yield port


@contextlib.contextmanager
def run_prosody(folder: Path, pem: Path | None) -> Iterator[int]:
    """Run an XMPP server of the domain `localhost`; None is without TLS."""
    program, port = find_program("prosody", "prosody"), free_port()
    config = folder / "prosody.cfg.lua"
    modules = '{ "tls"; "saslauth" }' if pem else '{ "saslauth" }'
    config.write_text(
        f"""
daemonize = false
run_as_root = {str(IS_ROOT).lower()}
pidfile = "{folder}/pid"
data_path = "{folder}/data"
log = {{ info = "*console" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
modules_enabled = {modules}
modules_disabled = {{ "s2s" {"" if pem else '; "tls"'} }}
c2s_require_encryption = {str(pem is not None).lower()}
ssl = {{ key = "{pem}"; certificate = "{pem}" }}
VirtualHost "localhost"
"""
    )
    (folder / "data").mkdir()
    with run_daemon([program, "--config", str(config), "-F"], folder, port):
        yield port
