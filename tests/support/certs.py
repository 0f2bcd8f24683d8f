# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made on the spot with the openssl program: a CA, servers that it vouches for, and strangers."""
import os
import subprocess


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def make_ca(folder, name):
    key, pem = os.path.join(folder, f"{name}.key"), os.path.join(folder, f"{name}.pem")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN=Bulkhead test {name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign", "-keyout", key, "-out", pem)
    return pem, key


def make_server(folder, name, host, ca):
    """A key and a certificate for `host`, signed by `ca`; both in one file, as the ssl module takes them."""
    ca_pem, ca_key = ca
    base = os.path.join(folder, name)
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={host}",
            "-keyout", base + ".key", "-out", base + ".csr")
    with open(base + ".ext", "w", encoding="ascii") as f:
        f.write(f"subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", base + ".csr", "-CA", ca_pem, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
            "-extfile", base + ".ext", "-out", base + ".crt")
    with open(base + ".pem", "w", encoding="ascii") as out:
        for part in (".key", ".crt"):
            with open(base + part, encoding="ascii") as f:
                out.write(f.read())
    os.chmod(base + ".pem", 0o600)
    return base + ".pem"


def make_all(folder):
    """{name: file}: the CA that the gateway trusts, and a server file for each listener of the stand-in."""
    ca, other = make_ca(folder, "ca"), make_ca(folder, "other-ca")
    return {
        "ca": ca[0],
        "good": make_server(folder, "good", "upstream.test", ca),
        "token": make_server(folder, "token", "login.test", ca),
        "wrong_name": make_server(folder, "wrong_name", "elsewhere.test", ca),
        "wrong_ca": make_server(folder, "wrong_ca", "upstream.test", other),
    }
