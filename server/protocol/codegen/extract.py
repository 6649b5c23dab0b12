#!/usr/bin/env python3
"""Turns the message definitions inside Apache Kafka's jars into the compact schema files in ../schemas.

Only facts are taken: names, types, version ranges, nullability, tags and defaults. Sentences and comments
are left behind. Run it when a new Kafka release is adopted:

    extract.py kafka-clients.jar kafka-metadata.jar kafka-group-coordinator.jar \
               kafka-transaction-coordinator.jar kafka-share-coordinator.jar

The format of a schema file, one line per fact, two spaces of indentation per level:

    <kind> <Name> [key <n>] versions <range> flexible <range>
    <Field> <type> <range> [null <range>] [tag <n> <range>] [default <value>] [flexible <range>] [ignorable]
      <Field of the struct above> ...
    struct <Name> <range>          (a struct that several fields share)
      <Field> ...
"""

import json
import pathlib
import sys
import zipfile

SCHEMAS = pathlib.Path(__file__).resolve().parent.parent / "schemas"
GROUPS = {
    "request": "messages",
    "response": "messages",
    "header": "messages",
    "data": "messages",
    "metadata": "metadata",
    "coordinator-key": "coordinator",
    "coordinator-value": "coordinator",
}


def capital(name):
    """Kafka's own rule: type and field names are used with a capital first letter."""
    return name[0].upper() + name[1:]


def definition(text):
    """Parses one definition; Apache's JSON has whole-line comments."""
    return json.loads("\n".join(line for line in text.split("\n") if not line.strip().startswith("//")))


def type_name(name):
    """Struct names get their capital letter; scalar names stay."""
    prefix, element = ("[]", name[2:]) if name.startswith("[]") else ("", name)
    scalars = {"bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "string", "bytes"}
    return prefix + (element if element in scalars | {"records", "uuid"} else capital(element))


def field_lines(field, indent):
    """One line for the field, then those of the struct it introduces."""
    # A tagged field may leave out `versions`: then it exists where it is tagged.
    words = [capital(field["name"]), type_name(field["type"]), field.get("versions", field.get("taggedVersions"))]
    if "nullableVersions" in field:
        words += ["null", field["nullableVersions"]]
    if "tag" in field:
        words += ["tag", str(field["tag"]), field["taggedVersions"]]
    # A JSON null as default means the type's own default; the text "null" means null.
    if field.get("default") not in (None, ""):
        words += ["default", str(field["default"]).lower() if field["type"] == "bool" else str(field["default"])]
    if "flexibleVersions" in field:
        words += ["flexible", field["flexibleVersions"]]
    if str(field.get("ignorable", False)).lower() == "true":
        words.append("ignorable")
    yield "  " * indent + " ".join(words)
    for inner in field.get("fields", []):
        yield from field_lines(inner, indent + 1)


def schema_lines(message):
    """The whole schema file of one message."""
    key = f" key {message['apiKey']}" if "apiKey" in message and message["type"] != "response" else ""
    if message["type"] == "response":
        key = f" key {message['apiKey']}"
    unstable = " unstable" if message.get("latestVersionUnstable") else ""
    yield (
        f"{message['type']} {capital(message['name'])}{key} versions {message['validVersions']}"
        f" flexible {message['flexibleVersions']}{unstable}"
    )
    for field in message["fields"]:
        yield from field_lines(field, 0)
    for struct in message.get("commonStructs", []):
        yield f"struct {capital(struct['name'])} {struct['versions']}"
        for field in struct["fields"]:
            yield from field_lines(field, 1)


def main(jars):
    """Reads every jar and writes one file per message; messages Kafka has retired are left out."""
    for group in set(GROUPS.values()):
        (SCHEMAS / group).mkdir(parents=True, exist_ok=True)
        for old in (SCHEMAS / group).glob("*.schema"):
            old.unlink()
    count = 0
    for jar in jars:
        with zipfile.ZipFile(jar) as archive:
            for name in sorted(archive.namelist()):
                if not name.startswith("common/") or not name.endswith(".json"):
                    continue
                message = definition(archive.read(name).decode())
                if message["validVersions"] == "none":
                    continue
                target = SCHEMAS / GROUPS[message["type"]] / f"{capital(message['name'])}.schema"
                target.write_text("\n".join(schema_lines(message)) + "\n")
                count += 1
    print(f"{count} schemas in {SCHEMAS}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
