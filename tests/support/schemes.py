# SPDX-License-Identifier: Apache-2.0
"""A gateway with a provider of each scheme of authentication, all of them the stand-in, and with its token service."""
import base64
import concurrent.futures
import contextlib
import hashlib
import json
import os
import subprocess

from gateway import Gateway, Provider, scratch, wait_for

BASIC = "robot:correct-horse!battery&staple"
AWS = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
       "token": "FwoGZXIvYXdzEBYaD/session+token/for=tests==", "scope": "eu-central-1/bedrock"}
AWS_FILE = f"""[default]
aws_access_key_id = {AWS['access_key']}
aws_secret_access_key={AWS['secret']}
aws_session_token = {AWS['token']}
"""
CLIENT = {"client_id": "client 1".replace(" ", "-"), "client_secret": "s3cret+/=&%", "refresh_token": "rt-0-first/refresh+token="}
ROBOT = "robot@project.iam.gserviceaccount.com"


def spki_pin(pem):
    """RFC 7469 2.4, by openssl."""
    public = subprocess.run(["openssl", "x509", "-in", pem, "-noout", "-pubkey"], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, capture_output=True, check=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Auth:
    """A gateway with one provider a scheme, all of them the stand-in."""

    def __init__(self, gateway):
        self.gateway, self.provider = gateway, gateway.provider
        self.folder = self.provider.folder
        self.added = set()

    # ---- the token service ----
    def say(self, **more):
        """Sets what it knows; keeps what it rotated."""
        path = os.path.join(self.folder, "oauth.json")
        settings = self.knows()
        settings.update(more)
        with open(path + ".t", "w", encoding="utf-8") as f:
            json.dump(settings, f)
        os.replace(path + ".t", path)

    def knows(self):
        with contextlib.suppress(OSError), open(os.path.join(self.folder, "oauth.json"), encoding="utf-8") as f:
            return json.load(f)
        return {}

    def begin(self, **more):
        """As new, for one test: no secret is there, and the service knows its first refresh token."""
        for name in self.added:
            self.gateway.cli("vault", "rm", name)
        self.added = set()
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(self.folder, "oauth.json"))
        self.say(basic=BASIC, sigv4=AWS, **CLIENT, **more)
        self.provider.reset()
        self.provider.control("POST", "/revoke")

    def calls(self):
        return self.provider.control("GET", "/journal")["tokens"]

    def revoke(self):
        self.provider.control("POST", "/revoke")

    # ---- secrets ----
    def add(self, name):
        if name != "local":
            self.added.add(name)
        lines = {"basic": BASIC, "sigv4": AWS_FILE, "refresh": f"client_secret = {CLIENT['client_secret']}\n"
                 f"refresh_token = {CLIENT['refresh_token']}\n", "client": f"client_secret={CLIENT['client_secret']}\n",
                 "form": f"client_secret={CLIENT['client_secret']}\n"}
        lines["tokenpinned"] = lines["tokenmispinned"] = lines["client"]
        if name == "google":
            return self.gateway.cli("vault", "add", name, "--file", os.path.join(self.folder, "robot.json"))
        return self.gateway.cli("vault", "add", name, stdin=lines.get(name, self.provider.key).encode())

    def chat(self, name, **more):
        return self.gateway.chat(f"{name}:gpt-x", **more)

    def together(self, name, n):
        """Statuses of n requests at once."""
        with concurrent.futures.ThreadPoolExecutor(n) as pool:
            return [r.status for r in pool.map(lambda _: self.chat(name, timeout=60), range(n))]

    def stored_version(self, name):
        return next(c["version"] for c in self.gateway.cli_json("vault", "list") if c["credential"] == name)


def make_robot(folder, token_url):
    key = os.path.join(folder, "robot.pem")
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key], check=True,
                   capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", os.path.join(folder, "robot.pub.pem")], check=True)
    with open(key, encoding="ascii") as f, open(os.path.join(folder, "robot.json"), "w", encoding="ascii") as out:
        json.dump({"type": "service_account", "project_id": "project", "private_key_id": "0123abcd", "private_key": f.read(),
                   "client_email": ROBOT, "client_id": "42", "token_uri": token_url}, out, indent=2)


def entries(provider):
    token_url = f"https://login.test:{provider.ports['token']}/token"
    base = {"base_url": f"https://upstream.test:{provider.ports['tls']}/v1", "connect_to": "127.0.0.1", "ca_file": provider.ca}
    token = {"token_url": token_url, "token_connect_to": "127.0.0.1", "client_id": CLIENT["client_id"]}
    pin, wrong = spki_pin(os.path.join(provider.folder, "good.crt")), base64.b64encode(b"x" * 32).decode()
    ca_pin, token_pin = spki_pin(provider.ca), spki_pin(os.path.join(provider.folder, "token.crt"))
    return [{"name": "local", "auth": "bearer", **base},
            {"name": "basic", "auth": "basic", **base},
            {"name": "sigv4", "auth": "sigv4", "scope": AWS["scope"], **base},
            {"name": "google", "auth": "google", **base, **{k: v for k, v in token.items() if k != "client_id"}},
            {"name": "refresh", "auth": "oauth_refresh", **base, **token},
            {"name": "client", "auth": "oauth_client", "scope": "one two", **base, **token},
            {"name": "form", "auth": "oauth_client", "client_auth": "form", **base, **token},
            {"name": "pinned", "auth": "bearer", "pins": [wrong, pin], **base},
            {"name": "pinnedca", "auth": "bearer", "pins": [ca_pin], **base},
            {"name": "mispinned", "auth": "bearer", "pins": [wrong], **base},
            {"name": "tokenpinned", "auth": "oauth_client", "token_pins": [token_pin], **base, **token},
            {"name": "tokenmispinned", "auth": "oauth_client", "token_pins": [pin], **base, **token}]


@contextlib.contextmanager
def started(workers, **more):
    with scratch() as folder, Provider(folder) as provider:
        make_robot(provider.folder, f"https://login.test:{provider.ports['token']}/token")
        with Gateway(folder, provider, workers=workers, providers=entries(provider), **more) as gateway:
            auth = Auth(gateway)
            auth.begin()
            gateway.open_vault()
            auth.add("local")
            gateway.key = gateway.make_key()["key"]
            wait_for("the first good answer", lambda: gateway.chat("gpt-x").status == 200)
            yield auth
