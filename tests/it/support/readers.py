"""Reads exported files with the tools of the projects that specify them; fails with what they say.

Each argument is a file, whose name tells its kind. Runs in the environment that `tests/run` makes in target/tools/readers.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import in_toto_attestation.v1.statement_pb2 as statement_pb2
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from packageurl import PackageURL
from packaging.pylock import Pylock
from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document


def purl(text):
    assert PackageURL.from_string(text).to_string() == text, f"{text} is not in canonical form"


def unordered(value):
    """The value with lists in one order, and with the one spelling of the schema that the tools write."""
    if isinstance(value, dict):
        return {key: unordered(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((unordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return "PACKAGE-MANAGER" if value == "PACKAGE_MANAGER" else value


def spdx(path):
    document = parse_file(str(path))
    messages = [str(message) for message in validate_full_spdx_document(document, "SPDX-2.3")]
    assert not messages, messages
    # What the tools did not understand is not in what they write: unknown fields, words that are no constants.
    text = json.loads(path.read_text())
    written = json.loads(json.dumps(DocumentConverter().convert(document)))
    assert unordered(written) == unordered(text), "it does not come back as it was"
    for package in text["packages"]:
        for reference in package.get("externalRefs", []):
            purl(reference["referenceLocator"])


def cyclonedx(path):
    text = path.read_text()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, error
    document = json.loads(text)
    references = {component["bom-ref"] for component in document["components"]}
    references.add(document["metadata"]["component"]["bom-ref"])
    for dependency in document["dependencies"]:
        assert references.issuperset({dependency["ref"], *dependency.get("dependsOn", [])}), dependency
    for component in document["components"]:
        if "purl" in component:
            purl(component["purl"])


def provenance(path):
    message = json_format.Parse(path.read_text(), statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    assert message.predicate_type == "https://slsa.dev/provenance/v1", message.predicate_type
    for dependency in json.loads(path.read_text())["predicate"]["buildDefinition"]["resolvedDependencies"]:
        assert len(dependency["digest"]["sha256"]) == 64, dependency


def pylock(path):
    lock = Pylock.from_dict(tomllib.loads(path.read_text()))
    lock.validate()
    assert lock.packages


def requirements(path):
    """What uv would install from the file, hashes checked, is what the `pylock.toml` beside it lists."""
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "install", "--dry-run", "--require-hashes", "--target", "unused", "--python-version", "3.13"]
    done = subprocess.run([*command, "-r", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {line.removeprefix(" + ") for line in done.stderr.splitlines() if line.startswith(" + ")}
    lock = Pylock.from_dict(tomllib.loads(path.with_name("pylock.toml").read_text()))
    assert found == {f"{package.name}=={package.version}" for package in lock.packages}, done.stderr


KINDS = [
    (".spdx.json", spdx),
    (".cdx.json", cyclonedx),
    ("provenance.json", provenance),
    ("pylock.toml", pylock),
    ("requirements.txt", requirements),
]

for argument in sys.argv[1:]:
    [read] = [read for suffix, read in KINDS if argument.endswith(suffix)]
    read(Path(argument))
