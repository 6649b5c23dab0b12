"""Reads the compact schema files (their format stands in extract.py) into plain objects."""

import pathlib
import re
from dataclasses import dataclass, field as dataclass_field

SCALARS = {"bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "uuid"}
LAST_VERSION = 32767


@dataclass(frozen=True)
class Versions:
    """An inclusive range of versions; empty if first > last."""

    first: int
    last: int

    @staticmethod
    def parse(text):
        """Kafka's notation: none, 3, 3+ or 3-5."""
        if text == "none":
            return NONE
        if text.endswith("+"):
            return Versions(int(text[:-1]), LAST_VERSION)
        first, _, last = text.partition("-")
        return Versions(int(first), int(last or first))

    def __and__(self, other):
        both = Versions(max(self.first, other.first), min(self.last, other.last))
        return both if both else NONE

    def __bool__(self):
        return self.first <= self.last

    def __contains__(self, version):
        return self.first <= version <= self.last

    def covers(self, other):
        """True if every version of `other` is in here."""
        return not other or (self.first <= other.first and other.last <= self.last)

    def condition(self, within):
        """A Rust condition on `version`, known to be in `within`: True, False or text."""
        both = self & within
        if not both:
            return False
        if both == within:
            return True
        if both.first == both.last:
            return f"version == {both.first}"
        if both.last == within.last:
            return f"version >= {both.first}"
        if both.first == within.first:
            return f"version <= {both.last}"
        return f"({both.first}..={both.last}).contains(&version)"


NONE = Versions(0, -1)


@dataclass
class Field:
    """One field of a struct."""

    name: str
    type: str
    versions: Versions
    null: Versions = NONE
    tag: int | None = None
    tagged: Versions = NONE
    default: str = ""
    flexible: Versions | None = None
    ignorable: bool = False

    @property
    def is_array(self):
        return self.type.startswith("[]")

    @property
    def element(self):
        """The type of an array's elements, or the type itself."""
        return self.type.removeprefix("[]")

    @property
    def is_struct(self):
        return not self.is_array and self.element[0].isupper()

    @property
    def rust(self):
        """The field's name in Rust."""
        name = self.name.replace("KRaft", "Kraft")
        name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
        name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name).lower()
        return name + "_" if name in {"type", "match", "move", "ref", "in", "loop", "where", "use"} else name


@dataclass
class Struct:
    """A struct and the versions in which it can appear."""

    name: str
    versions: Versions
    fields: list = dataclass_field(default_factory=list)


@dataclass
class Message:
    """A message: its own struct first, then those inside of it."""

    kind: str
    name: str
    group: str
    key: int | None
    versions: Versions
    flexible: Versions
    unstable: bool
    structs: list

    @property
    def module(self):
        """The name of its Rust module."""
        name = self.name.replace("KRaft", "Kraft")
        name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
        return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name).lower()


def parse_field(text):
    """One field line."""
    words = text.split()
    result = Field(words[0], words[1], Versions.parse(words[2]))
    position = 3
    while position < len(words):
        word = words[position]
        if word == "null":
            result.null = Versions.parse(words[position + 1])
        elif word == "tag":
            result.tag = int(words[position + 1])
            result.tagged = Versions.parse(words[position + 2])
            position += 1
        elif word == "default":
            result.default = words[position + 1]
        elif word == "flexible":
            result.flexible = Versions.parse(words[position + 1])
        elif word == "ignorable":
            result.ignorable = True
            position -= 1
        else:
            raise ValueError(f"unknown word {word} in {text}")
        position += 2
    return result


def parse_message(path, group):
    """One schema file."""
    lines = path.read_text().splitlines()
    words = lines[0].split()
    facts = dict(zip(words[2::2], words[3::2]))
    versions = Versions.parse(facts["versions"])
    top = Struct(words[1], versions)
    message = Message(
        words[0], words[1], group, int(facts["key"]) if "key" in facts else None,
        versions, Versions.parse(facts["flexible"]), words[-1] == "unstable", [top],
    )
    stack = [top]
    for line in lines[1:]:
        depth = (len(line) - len(line.lstrip())) // 2
        if line.startswith("struct "):
            struct = Struct(line.split()[1], Versions.parse(line.split()[2]))
            message.structs.append(struct)
            stack = [struct, struct]  # its fields are indented once
            continue
        # A field one level deeper belongs to the struct the line above it introduced.
        if depth >= len(stack):
            parent = stack[-1].fields[-1]
            struct = Struct(parent.element, parent.versions)
            message.structs.append(struct)
            stack.append(struct)
        stack = stack[: depth + 1]
        stack[-1].fields.append(parse_field(line.strip()))
    return message


def apply_overlay(messages, path):
    """Widens messages as the overlay file says."""
    by_name = {message.name: message for message in messages}
    for line in path.read_text().splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        message = by_name[words[1]]
        if words[0] == "versions":
            message.versions = message.structs[0].versions = Versions.parse(words[2])
        elif words[0] == "field":
            struct = next(struct for struct in message.structs if struct.name == words[2])
            after = words[4].rstrip(":")
            position = next(i for i, field in enumerate(struct.fields) if field.name == after) + 1
            struct.fields.insert(position, parse_field(line.partition(":")[2].strip()))
        else:
            raise ValueError(f"unknown overlay line: {line}")


def load(directory: pathlib.Path):
    """All messages, in the order of their names within each group."""
    messages = []
    for group in ("messages", "metadata", "coordinator"):
        for path in sorted((directory / group).glob("*.schema")):
            messages.append(parse_message(path, group))
    apply_overlay(messages, directory / "overlay.txt")
    for message in messages:
        names = [struct.name for struct in message.structs]
        if len(set(names)) != len(names):
            raise ValueError(f"{message.name}: two structs of one name")
        settle_versions(message)
    return messages


def settle_versions(message):
    """Narrows each struct to the versions in which something contains it. Refuses recursion."""
    by_name = {struct.name: struct for struct in message.structs}

    def visit(struct, path):
        if struct.name in path:
            raise ValueError(f"{message.name}: {struct.name} contains itself")
        for field in struct.fields:
            if field.element in by_name:
                visit(by_name[field.element], path + [struct.name])

    visit(message.structs[0], [])
    for struct in message.structs:
        struct.versions = struct.versions & message.versions
