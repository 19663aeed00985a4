"""A real nginx with pages of every kind, plain and over TLS."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.simulators.certificates import Authority
from tests.simulators.daemons import find_program, free_port, run_daemon


@dataclass(frozen=True)
class Nginx:
    """Pages: `/` 200, `/empty` 204, `/broken` 500, `/moved` to `/`, `/loop` to itself."""

    http: str
    https: str
    tls_port: int
    ca_file: Path


@contextlib.contextmanager
def run_nginx(folder: Path, *, days: float = 40.5) -> Iterator[Nginx]:
    """Run nginx with a certificate for `localhost` and 127.0.0.1 of an authority of its own."""
    program = find_program("nginx", "nginx-light")
    authority = Authority(folder)
    certificate = authority.write_pem(folder / "server.pem", "localhost", "127.0.0.1", days=days)
    plain, tls = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"""
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl http2;
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    absolute_redirect off;
    location / {{ return 200 "hello\\n"; }}
    location /empty {{ return 204; }}
    location /broken {{ return 500; }}
    location /moved {{ return 301 /; }}
    location /loop {{ return 302 /loop; }}
  }}
}}
"""
    )
    command = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    with run_daemon(command, folder, plain, tls):
        yield Nginx(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", tls, authority.ca_file)
