# SPDX-License-Identifier: Apache-2.0
"""What the gateway is measured with and against: nginx as a TLS upstream, and nginx as a plain reverse proxy to it."""
import json
import os
import re
import socket
import subprocess
import time

from support.gateway import children_of, free_port

ANSWER = json.dumps({
    "id": "chatcmpl-bench", "object": "chat.completion", "created": 1700000000, "model": "gpt-bench",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {
        "role": "assistant", "content": "The minutes record three decisions and two open questions. " * 21}}],
    "usage": {"prompt_tokens": 160, "completion_tokens": 220, "total_tokens": 380}})

COMMON = """
daemon off;
pid {folder}/pid;
{load}
error_log stderr crit;
worker_processes {workers};
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    tcp_nodelay on;
    {http}
}}
"""

UPSTREAM = """
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        server_name upstream.test;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        ssl_protocols TLSv1.3;
        default_type application/json;
        location / {{ {think} }}
        location /answer {{ internal; return 200 '{answer}'; }}
    }}
"""

PROXY = """
    upstream provider {{
        server 127.0.0.1:{upstream};
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass https://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host upstream.test;
            proxy_ssl_server_name on;
            proxy_ssl_name upstream.test;
            proxy_ssl_verify on;
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_trusted_certificate {ca};
        }}
    }}
"""


class Nginx:
    """One nginx in the foreground, in a folder of its own."""

    def __init__(self, folder, name, workers, http, load="", **values):
        self.name, self.port = name, free_port()
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder)
        http = http.format(port=self.port, **values)
        user = "user nobody nogroup;" if os.geteuid() == 0 else ""
        self.config = os.path.join(self.folder, "nginx.conf")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(COMMON.format(folder=self.folder, workers=workers, user=user, load=load, http=http))

    def __enter__(self):
        self.process = subprocess.Popen(["nginx", "-p", self.folder, "-c", self.config], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def pids(self):
        return [self.process.pid, *sorted(children_of(self.process.pid))]


def upstream(folder, certificate, think_ms=0):
    """With `think_ms`, each answer comes so much later, as a model's do (nginx's echo module, which nginx-light brings)."""
    if not think_ms:
        return Nginx(folder, "upstream", 1, UPSTREAM, certificate=certificate, think=f"return 200 '{ANSWER}';", answer=ANSWER)
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr
    modules = re.search(r"--modules-path=(\S+)", built)[1]
    return Nginx(folder, "thinking", 1, UPSTREAM, load=f"load_module {modules}/ngx_http_echo_module.so;", certificate=certificate,
                 think=f"echo_sleep {think_ms / 1000}; echo_exec /answer;", answer=ANSWER)


def proxy(folder, workers, to, ca):
    return Nginx(folder, f"nginx-{workers}", workers, PROXY, upstream=to.port, ca=ca)
