"""Tells what is in the image it runs in, as JSON. The standard library alone, but for `packaging` where the image has it."""

import base64
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import ssl
import subprocess
import sys

ENVIRONMENT = "/opt/venv"


def unmet(distribution, versions):
    """Requirements that the environment does not meet, as `pip check` would name them."""
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        return
    for text in distribution.requires or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = versions.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield f"{distribution.name} wants {text}, there is {version}"


def damaged(distribution):
    """Files whose bytes are not those that RECORD promises."""
    for file in distribution.files or []:
        if file.hash is None:
            continue
        try:
            content = file.locate().read_bytes()
        except OSError as error:
            yield f"{file}: {error}"
            continue
        digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, content).digest()).decode().rstrip("=")
        if digest != file.hash.value:
            yield f"{file}: {digest}"


def normalized(name):
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def output(*command):
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


distributions = [
    distribution for distribution in importlib.metadata.distributions() if str(distribution.locate_file("")).startswith(ENVIRONMENT)
]
versions = {normalized(distribution.name): distribution.version for distribution in distributions}
modules = [name for name in importlib.metadata.packages_distributions() if name.isidentifier()]

json.dump(
    {
        "user": [os.getuid(), os.getgid(), os.path.expanduser("~"), os.getcwd()],
        "python": [sys.version_info.major, sys.version_info.minor, sys.prefix],
        "distributions": versions,
        "unmet": sorted(line for distribution in distributions for line in unmet(distribution, versions)),
        "damaged": sorted(line for distribution in distributions for line in damaged(distribution)),
        "not_importable": sorted(name for name in modules if importlib.util.find_spec(name) is None),
        "modules": len(modules),
        "authorities": len(ssl.create_default_context().get_ca_certs()),
        "packages": output("dpkg-query", "--show", "--showformat=${Package}:${Architecture} ${Version} ${db:Status-Status}\n").splitlines(),
        "packages_damaged": output("dpkg", "--verify").splitlines() + output("dpkg", "--audit").splitlines(),
    },
    sys.stdout,
)
