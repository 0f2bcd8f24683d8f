# SPDX-License-Identifier: Apache-2.0
"""A secret as Kubernetes mounts it."""
import os


class Secret:
    """A folder as Kubernetes mounts a Secret: `key` -> `..data/key`, `..data` swapped for another folder by one rename."""

    def __init__(self, folder):
        self.folder, self.n = folder, 0
        os.mkdir(folder, 0o755)
        self.path = os.path.join(folder, "key")

    def write(self, data, mode=0o400):
        self.n += 1
        there = os.path.join(self.folder, f"..{self.n}")
        os.mkdir(there, 0o755)
        with open(os.open(os.path.join(there, "key"), os.O_WRONLY | os.O_CREAT, mode), "wb") as f:
            f.write(data)
        os.chmod(os.path.join(there, "key"), mode)
        os.symlink(f"..{self.n}", os.path.join(self.folder, "..next"))
        os.rename(os.path.join(self.folder, "..next"), os.path.join(self.folder, "..data"))
        if self.n == 1:
            os.symlink("..data/key", self.path)
        else:
            os.unlink(os.path.join(self.folder, f"..{self.n - 1}", "key"))
            os.rmdir(os.path.join(self.folder, f"..{self.n - 1}"))
