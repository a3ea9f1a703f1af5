"""The gateway's nginx.conf: of everything that the SuperLink answers on its one port, sites reach ten paths.

The SuperLink authenticates sites only. Whoever reaches its other interfaces may start runs, so that nothing but these
paths may pass, and only from an enrolled site: its certificate, issued by this federation's authority, together with
its own node key.
"""

from string import Template

PATHS = (
    "activate-node",
    "deactivate-node",
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "get-run",
    "get-fab",
    "push-object",
    "pull-object",
    "confirm-message-received",
)
LINK_NAME = "localhost"
"""In the SuperLink's certificate; nginx compares names only, never the addresses in a certificate."""
MOST_BYTES = 8 * 2**20
"""Of one request: Flower cuts objects at 5 MB. A 413 is fatal to a round, so that there is room to spare."""
REQUESTS_PER_S, AT_ONCE, BURST, CONNECTIONS = 50, 60, 100, 8
"""Of one site. AT_ONCE pass as fast as they come, more than a round needs; then they are held to REQUESTS_PER_S."""
WORKERS, OPEN, FILES, HANDSHAKE_S = 2, 4096, 10_000, 10
"""Connections that each worker holds, the files that takes (where the system allows them), and how long one may last
that has sent no whole header: nginx cannot count a stranger's connections before it knows who asks. Each half-open
handshake takes about 50 kB."""


class _Conf(Template):
    delimiter = "@"


_CONF = _Conf(r"""# Written by `consilium server`; changes are lost. Paths start in this folder or in state/gateway.
daemon off;
pid nginx.pid;
lock_file nginx.lock;
error_log stderr warn;
worker_processes @workers;
worker_rlimit_nofile @files;
worker_shutdown_timeout 60s;
events { worker_connections @open; }

http {
  access_log off;
  server_tokens off;
  default_type text/plain;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;

  # The line as it was sent: a location would match what nginx has decoded and tidied up.
  map $request_uri $fleet { default 0; "~^/v1/fleet/(?:@paths)\z" 1; }
  map "$ssl_client_s_dn|$http_flwr_public_key" $site { default ""; include sites.map; }

  limit_req_zone $site zone=rate:1m rate=@{rate}r/s;
  limit_conn_zone $site zone=conn:1m;
  limit_req_log_level warn;
  limit_conn_log_level warn;

  # The SuperLink closes idle connections after 5 s: the gateway has to be first.
  upstream superlink { server @link_host:@link_port; keepalive 16; keepalive_timeout 4s; }

  server {
    listen @listen ssl;
    # Of strangers only what the machine itself lacks: a line for each bad handshake would fill the disk.
    error_log stderr alert;
    ssl_certificate ../certificates/gateway.crt;
    ssl_certificate_key ../keys/gateway.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256;
    ssl_client_certificate ../certificates/authority.crt;
    ssl_verify_client on;
    ssl_verify_depth 1;
    # A resumed session would skip the check of the certificate's dates.
    ssl_session_cache off;
    ssl_session_tickets off;

    client_max_body_size @most_bytes;
    client_body_buffer_size @most_bytes;
    client_header_timeout @{handshake}s;
    client_body_timeout 30s;
    send_timeout 30s;
    keepalive_timeout 65s;
    keepalive_requests 100000;

    error_page 495 496 = @@certificate;
    location @@certificate { return 400 "gateway: client certificate: $ssl_client_verify\n"; }
    if ($fleet = 0) { return 403 "gateway: not a path for sites\n"; }
    if ($site = "") { return 403 "gateway: no enrolled site has this certificate together with this node key\n"; }

    location / {
      error_log stderr warn;
      limit_except POST { deny all; }
      # 503, after which a SuperNode tries again: at 429 it would stop asking for good.
      limit_req zone=rate burst=@burst delay=@at_once;
      limit_req_status 503;
      limit_conn conn @connections;
      limit_conn_status 503;

      proxy_pass https://superlink;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host @link_name;
      # The one that was looked up, where a request names two.
      proxy_set_header Flwr-Public-Key $http_flwr_public_key;
      proxy_set_header Forwarded "";
      proxy_set_header X-Forwarded-For "";
      proxy_set_header X-Forwarded-Proto "";
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate ../certificates/authority.crt;
      proxy_ssl_name @link_name;
      proxy_ssl_server_name on;
      proxy_read_timeout 60s;
      proxy_buffer_size 64k;
      proxy_buffers 8 1m;
      proxy_busy_buffers_size 2m;
      proxy_max_temp_file_size 0;
    }
  }
}
""")


def configuration(*, listen: str, link_port: int, link_host: str = "127.0.0.1") -> bytes:
    """The text of nginx.conf. listen: ADDRESS:PORT to bind to. link_host, link_port: the SuperLink's."""
    text = _CONF.substitute(
        paths="|".join(PATHS),
        listen=listen,
        link_port=link_port,
        link_host=link_host,
        link_name=LINK_NAME,
        most_bytes=MOST_BYTES,
        rate=REQUESTS_PER_S,
        burst=BURST,
        at_once=AT_ONCE,
        connections=CONNECTIONS,
        workers=WORKERS,
        open=OPEN,
        files=FILES,
        handshake=HANDSHAKE_S,
    )
    return text.encode()
