"""The lab's images: a server, a registry, nginx, the hub and (tests/lab/localai) the LocalAI stand-in with its backend."""
from __future__ import annotations

from dataclasses import replace

from .localai.recipes import RECIPES as LOCALAI_RECIPES
from .recipe import HERE, Recipe

_MASKED = (
    "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-modules-load.service", "systemd-logind.service",
    "getty.target", "console-getty.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "dev-hugepages.mount",
    "dev-mqueue.mount", "tmp.mount", "systemd-remount-fs.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "fstrim.timer",
)

HOST = Recipe(
    name="host",
    suite="trixie",
    packages=(
        "systemd", "systemd-sysv", "dbus", "libpam-systemd", "python3", "python3-apt", "openssh-server", "sudo", "iproute2", "iptables", "procps",
        "kmod", "ca-certificates", "curl", "openssl", "netbase",
    ),
    offers=(
        "docker.io", "docker-cli", "docker-compose", "python3-cryptography", "python3-requests", "python3-docker", "python3-yaml",
        "gpg", "rsync", "jq", "acl", "logrotate", "cron",
    ),
    hooks=(
        'for unit in ' + " ".join(_MASKED) + '; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done',
        'ln -sf /usr/lib/systemd/system/multi-user.target "$1/etc/systemd/system/default.target"',
        'rm -f "$1"/etc/ssh/ssh_host_*; : > "$1/etc/machine-id"; rm -f "$1/var/lib/dbus/machine-id"',
        'echo force-unsafe-io > "$1/etc/dpkg/dpkg.cfg.d/lab"',
    ),
    files={
        "/usr/local/sbin/lab-init": (HERE / "image_host/init.sh", 0o755),
        "/etc/ssh/sshd_config.d/lab.conf": (HERE / "image_host/sshd.conf", 0o644),
        "/etc/systemd/journald.conf.d/lab.conf": (HERE / "image_host/journald.conf", 0o644),
    },
    command=("/usr/local/sbin/lab-init",),
    env={"container": "docker"},
    volumes=("/var/lib/docker",),
    stop_signal="SIGRTMIN+3",
)

REGISTRY = Recipe(
    name="registry",
    suite="trixie",
    packages=("docker-registry", "ca-certificates"),
    files={"/etc/docker/registry/config.yml": (HERE / "image_registry/config.yml", 0o644)},
    command=("docker-registry", "serve", "/etc/docker/registry/config.yml"),
    volumes=("/var/lib/registry",),
    ports=("5000/tcp",),
)

# Paths and behaviour of the official image: configuration in /etc/nginx, modules found as modules/NAME.so, log files that lead to the
# container's log, user nginx with id 101. (Debian builds it with the prefix /usr/share/nginx, the official image with /etc/nginx.)
NGINX = Recipe(
    name="nginx",
    suite="forky",
    packages=("nginx", "libnginx-mod-http-js", "ca-certificates", "curl"),
    hooks=(
        'chroot "$1" groupadd --system --gid 101 nginx',
        'chroot "$1" useradd --system --uid 101 --gid 101 --home-dir /nonexistent --no-create-home --shell /bin/false nginx',
        'rm -rf "$1"/etc/nginx/sites-* "$1"/etc/nginx/modules-* "$1"/etc/nginx/conf.d/* "$1"/var/log/nginx/*',
        'install -d -m 0755 "$1/var/cache/nginx" "$1/etc/nginx/conf.d" "$1/usr/lib/nginx/modules"; chroot "$1" chown nginx: /var/cache/nginx',
    ),
    files={
        "/etc/nginx/nginx.conf": (HERE / "image_nginx/nginx.conf", 0o644),
        "/etc/nginx/conf.d/default.conf": (HERE / "image_nginx/default.conf", 0o644),
    },
    links={
        "/etc/nginx/modules": "/usr/lib/nginx/modules",
        "/usr/share/nginx/modules": "/usr/lib/nginx/modules",
        "/var/log/nginx/access.log": "/dev/stdout",
        "/var/log/nginx/error.log": "/dev/stderr",
    },
    command=("nginx", "-g", "daemon off;"),
    ports=("80/tcp",),
    stop_signal="SIGQUIT",
)

# Debian 12: an engine of its own and no Compose v2; the role docker brings it as one file.
HOST_BOOKWORM = replace(
    HOST, name="host-bookworm", suite="bookworm", offers=tuple(name for name in HOST.offers if name not in ("docker-cli", "docker-compose")))

# Debian release of a server → its recipe.
HOSTS = {recipe.suite: recipe for recipe in (HOST, HOST_BOOKWORM)}

HUB = replace(
    HOST,
    name="hub",
    layer="host",
    files={"/srv/hub.py": (HERE / "hub.py", 0o644)},
    command=("python3", "/srv/hub.py", "--root", "/hub", "--host", "0.0.0.0", "--port", "443", "--cert", "/certs/tls.crt", "--key", "/certs/tls.key"),
    env={"PYTHONUNBUFFERED": "1"},
    ports=("443/tcp",),
    volumes=(),
    stop_signal="",
)

# HUB last: it takes the package layer of HOST, which is ready by then.
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*HOSTS.values(), REGISTRY, NGINX, *LOCALAI_RECIPES, HUB)}
