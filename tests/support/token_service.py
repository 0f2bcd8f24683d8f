# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a provider's token service (RFC 6749, RFC 7523), as a listener of provider.py, and the checks that a provider makes
of what it is sent under each scheme.

Which requests for a token are right follows from the folder's files, read each time: `oauth.json` (client_id, client_secret,
refresh_token, rotate, life, mode) and `robot.pub.pem`. A mode makes it misbehave: down, slow, huge, garbage, redirect, denied,
error500, nobody. Everything that was asked is in `journal`; a refresh token that comes a second time revokes the family, as
services do that detect reuse.
"""
import base64
import hashlib
import hmac
import json
import os
import subprocess
import tempfile
import urllib.parse


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def sigv4_ok(line, first, body, access_key, secret, token, scope):
    """Verifies a signature with nothing but the description of Signature Version 4. Written apart from the gateway's."""
    method, target, _ = line.split(" ")
    authorization = first.get("authorization", "")
    if not authorization.startswith("AWS4-HMAC-SHA256 "):
        return False
    parts = dict(p.strip().split("=", 1) for p in authorization[len("AWS4-HMAC-SHA256 "):].split(","))
    date = first.get("x-amz-date", "")
    full_scope = f"{date[:8]}/{scope}/aws4_request"
    if parts["Credential"] != f"{access_key}/{full_scope}" or first.get("x-amz-security-token", "") != token:
        return False
    names = parts["SignedHeaders"].split(";")
    if not {"host", "x-amz-date", "content-type"} <= set(names) or (token and "x-amz-security-token" not in names):
        return False
    path, _, query = target.partition("?")
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical = "\n".join([
        method, urllib.parse.quote(path, safe="/-_.~"),
        "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in pairs),
        "".join(f"{n}:{' '.join(first[n].split())}\n" for n in names), ";".join(names), sha256(body)])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, full_scope, sha256(canonical.encode())])
    key = ("AWS4" + secret).encode()
    for part in (date[:8], *scope.split("/"), "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(parts["Signature"], hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest())


def jwt_claims(assertion, public_pem):
    """The claims, if openssl finds the signature right; else None."""
    def decode(text):
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    signed, _, signature = assertion.rpartition(".")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "sig"), "wb") as f:
            f.write(decode(signature))
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", public_pem, "-signature", f"{folder}/sig"],
                              input=signed.encode(), capture_output=True, check=False)
    header, claims = (json.loads(decode(p)) for p in signed.split("."))
    return {**header, **claims} if done.returncode == 0 and header["alg"] == "RS256" else None


class TokenService:
    """What it knows, and what it has done."""

    def __init__(self, folder):
        self.folder, self.journal, self.live, self.spent, self.count = folder, [], {}, set(), 0

    def settings(self):
        try:
            with open(os.path.join(self.folder, "oauth.json"), encoding="utf-8") as f:
                return json.load(f)
        except (OSError, ValueError):
            return {}

    def issue(self, settings, **more):
        self.count += 1
        token = f"at-{self.count}-" + hashlib.sha256(os.urandom(16)).hexdigest() + "~+/="
        self.live[token] = True
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": settings.get("life", 3600), **more}

    def client_ok(self, settings, first, form):
        if "client_secret" not in settings:
            return form.get("client_id") == settings["client_id"]
        if settings.get("in_form"):
            return (form.get("client_id"), form.get("client_secret")) == (settings["client_id"], settings["client_secret"])
        pair = ":".join(urllib.parse.quote(settings[k], safe="-_.~") for k in ("client_id", "client_secret"))
        return first.get("authorization") == "Basic " + base64.b64encode(pair.encode()).decode() and "client_secret" not in form

    def refresh(self, settings, form):
        """Rotation with reuse detection."""
        given = form.get("refresh_token")
        current = settings["refresh_token"]
        if given in self.spent:
            self.spent.add(current)
            return 400, {"error": "invalid_grant", "error_description": "reuse"}
        if given != current:
            return 400, {"error": "invalid_grant"}
        if not settings.get("rotate"):
            return self.issue(settings)
        self.spent.add(given)
        settings["refresh_token"] = f"rt-{self.count + 1}-" + hashlib.sha256(os.urandom(16)).hexdigest() + "/+="
        path = os.path.join(self.folder, "oauth.json")
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(settings, f)
        os.replace(path + ".new", path)
        return self.issue(settings, refresh_token=settings["refresh_token"])

    def assertion(self, settings, form, url):
        claims = jwt_claims(form.get("assertion", ""), os.path.join(self.folder, "robot.pub.pem"))
        if not claims or claims["aud"] != url or claims["exp"] - claims["iat"] > 3600:
            return 400, {"error": "invalid_grant"}
        self.journal[-1]["claims"] = claims
        return self.issue(settings)

    def answer(self, first, form, url):
        """(status, JSON)"""
        settings = self.settings()
        kind = form.get("grant_type")
        if kind == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return self.assertion(settings, form, url)
        if not self.client_ok(settings, first, form):
            return 401, {"error": "invalid_client"}
        if kind == "client_credentials":
            return self.issue(settings)
        return self.refresh(settings, form) if kind == "refresh_token" else (400, {"error": "unsupported_grant_type"})

    async def serve_one(self, conn, line, first, body):
        """One request of a connection of provider.py."""
        settings = self.settings()
        mode = settings.get("mode", "")
        form = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
        self.journal.append({"line": line, "fields": first, "form": form, "mode": mode})
        url = f"https://{first['host']}{line.split(' ')[1]}"
        if mode == "down":
            return conn.abort()
        if mode == "slow":
            await conn.pause(600)
        status, value = self.answer(first, form, url)
        if mode.startswith("slow:"):
            await conn.pause(float(mode[5:]))
        if mode == "denied":
            status, value = 400, {"error": "invalid_grant"}
        if mode == "error500":
            status, value = 500, {"error": "server_error"}
        data = json.dumps(value).encode()
        if mode == "huge":
            data = json.dumps({**value, "padding": "x" * 200000}).encode()
        if mode == "garbage":
            data = b"<html>" + data + b"</html>"
        extra = ""
        if mode == "redirect":
            status, extra = 307, f"location: {url}?again\r\n"
        self.journal[-1]["status"] = status
        return await conn.send(f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncache-control: no-store\r\n{extra}"
                               f"content-length: {len(data)}\r\nconnection: close\r\n\r\n", data)
