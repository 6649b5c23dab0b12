"""Writes the Rust code of one message from its schema."""

import re

from schema import NONE, Versions

SCALAR_TYPES = {
    "bool": "bool", "int8": "i8", "int16": "i16", "uint16": "u16", "int32": "i32", "uint32": "u32",
    "int64": "i64", "float64": "f64", "uuid": "Uuid",
}
SCALAR_BYTES = {
    "bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "float64": 8, "uuid": 16,
}
# A struct with one of these fields never shows its content in Debug: it holds or may hold a secret.
SECRET_FIELDS = {
    "AuthBytes", "Salt", "SaltedPassword", "StoredKey", "ServerKey", "Hmac", "RequestData", "ResponseData",
}
# Structs of configuration entries: a value may be a password.
SECRET_STRUCTS = {"AlterableConfig", "DescribeConfigsResourceResult", "DescribeConfigsSynonym", "ConfigRecord"}


def mandatory(field):
    """The versions in which a field stands in its place rather than among the tagged fields."""
    if not field.tagged:
        return field.versions
    if field.tagged.covers(field.versions):
        return NONE
    return Versions(field.versions.first, field.tagged.first - 1)


class StructWriter:
    """The Rust code of one struct of a message."""

    def __init__(self, message, struct):
        self.message = message
        self.struct = struct
        self.within = struct.versions
        self.top = struct is message.structs[0]
        self.structs = {inner.name: inner for inner in message.structs}

    # Types and defaults

    def optional(self, field):
        """True if the Rust type is an Option."""
        return bool(field.null & self.message.versions) and field.type != "records"

    def element_type(self, name):
        """The Rust type of a scalar, string or struct."""
        return SCALAR_TYPES.get(name) or {"string": "Str", "bytes": "Bytes", "records": "Records"}.get(name, name)

    def rust_type(self, field):
        """The Rust type of a field."""
        text = self.element_type(field.element)
        if field.is_array:
            text = f"Vec<{text}>"
        return f"Option<{text}>" if self.optional(field) else text

    def default(self, field):
        """The default as a Rust expression; None if it is what `Default` gives."""
        value = field.default
        if field.type == "bool":
            return "true" if value == "true" else None
        if field.type in SCALAR_TYPES and value:
            number = int(value, 0) if field.type != "float64" else float(value)
            if number == 0:
                return None
            if number == {"int64": 2**63 - 1, "int32": 2**31 - 1}.get(field.type):
                return f"{SCALAR_TYPES[field.type]}::MAX"
            if number == {"int64": -(2**63), "int32": -(2**31)}.get(field.type):
                return f"{SCALAR_TYPES[field.type]}::MIN"
            return f"{number:_}" if abs(number) >= 10000 else str(number)
        if self.optional(field):
            if value == "null":
                return None
            return f'Some(Str::from_static("{value}"))' if value else f"Some({self.inner_default(field)})"
        if field.type == "string" and value:
            return f'Str::from_static("{value}")'
        return None

    def inner_default(self, field):
        """The default of what an Option holds."""
        return "Vec::new()" if field.is_array else f"{self.element_type(field.element)}::default()"

    def is_default(self, field):
        """A Rust condition: the field has its default value."""
        place, default = f"self.{field.rust}", self.default(field)
        if field.type == "bool":
            return place if default else f"!{place}"
        if field.type == "uuid":
            return f"{place}.is_zero()"
        if field.type in SCALAR_TYPES:
            return f"{place} == {default or ('0.0' if field.type == 'float64' else '0')}"
        if field.type == "records":
            return f"{place} == Records::Null"
        if self.optional(field):
            if default is None:
                return f"{place}.is_none()"
            if field.is_struct:
                return f"{place} == {default}"
            return f"{place}.as_ref().is_some_and(|value| value.is_empty())"
        if field.is_struct:
            return f"{place} == {field.type}::default()"
        return f"{place} == {default}" if default else f"{place}.is_empty()"

    # Conditions

    def flexible(self, field=None):
        """Whether lengths are varints: a Rust expression."""
        versions = field.flexible if field is not None and field.flexible is not None else self.message.flexible
        condition = versions.condition(self.within)
        return {True: "true", False: "false"}.get(condition, "flexible")

    def place(self, field):
        """The name errors give a field."""
        return f'"{self.struct.name}.{field.name}"'

    # Reading

    def read_value(self, field, versions, tagged):
        """An expression that reads the field, known to be in `versions`."""
        place = self.place(field)
        flexible = "true" if tagged else self.flexible(field)
        if field.type in SCALAR_TYPES:
            return f"reader.{SCALAR_TYPES[field.type].lower()}({place})?"
        if field.is_array:
            if field.element in self.structs:
                name, arguments = "structs", f"{place}, {flexible}, version"
            else:
                minimum = SCALAR_BYTES.get(field.element, 1)
                if field.element in SCALAR_TYPES:
                    inner = f"reader.{SCALAR_TYPES[field.element].lower()}({place})"
                else:
                    inner = f"reader.{field.element}({place}, {flexible})"
                name, arguments = "array", f"{place}, {flexible}, {minimum}, |reader| {inner}"
        elif field.is_struct:
            name, arguments = "struct", f"{place}, version"
        else:
            name, arguments = field.type, f"{place}, {flexible}"
        plain = f"{field.type}::read(reader, version)?" if name == "struct" else f"reader.{name}({arguments})?"
        prefix = "nullable_tagged" if name == "struct" and tagged else "nullable"
        nullable = f"reader.{prefix}_{name}({arguments})?"
        if self.optional(field):
            plain = f"Some({plain})"
        condition = field.null.condition(versions)
        if condition is True:
            return nullable
        if condition is False:
            return plain
        return f"if {condition} {{ {nullable} }} else {{ {plain} }}"

    def read_body(self):
        """The statements of `read`."""
        yield "let mut this = Self::default();"
        for field in self.struct.fields:
            versions = mandatory(field) & self.within
            condition = versions.condition(self.within) if versions else False
            if condition is False:
                continue
            statement = f"this.{field.rust} = {self.read_value(field, versions, False)};"
            yield statement if condition is True else f"if {condition} {{ {statement} }}"
        tags = self.flexible()
        if tags != "false":
            body = " ".join(self.read_tags())
            yield body if tags == "true" else f"if flexible {{ {body} }}"
        yield "Ok(this)"

    def read_tags(self):
        """The statements that read the tagged fields."""
        name = f'"{self.struct.name}"'
        fields = self.tagged_fields()
        if not fields:
            yield f"reader.skip_tags({name})?;"
            return
        yield f"for _ in 0..reader.tag_count({name})? {{"
        yield f"let (tag, frame) = reader.begin_tag({name})?;"
        yield "match tag {"
        flexible_versions = self.message.flexible & self.within
        for field in fields:
            versions = field.tagged & field.versions & self.within
            condition = versions.condition(flexible_versions)
            guard = "" if condition is True else f" if {condition}"
            yield f"{field.tag}{guard} => this.{field.rust} = {self.read_value(field, versions, True)},"
        yield f"_ => reader.skip_tag({name})?,"
        yield f"}} reader.end_tag(frame, {name})?; }}"

    def tagged_fields(self):
        """The tagged fields in the order of their tags."""
        fields = [field for field in self.struct.fields if field.tagged & field.versions & self.within]
        return sorted(fields, key=lambda field: field.tag)

    # Writing

    def write_value(self, field, versions, tagged):
        """Statements that write the field, known to be in `versions`."""
        place = self.place(field)
        flexible = "true" if tagged else self.flexible(field)
        value = f"self.{field.rust}"
        if field.type in SCALAR_TYPES:
            return f"writer.{SCALAR_TYPES[field.type].lower()}({value});"
        optional = self.optional(field)
        condition = field.null.condition(versions)
        required = f"{value}.as_ref().ok_or(EncodeError {{ field: {place}, problem: EncodeProblem::Null }})?"
        if field.is_struct:
            method = "nullable_tagged_struct" if tagged else "nullable_struct"
            nullable = f"writer.{method}({value}.as_ref(), version)?;"
            plain = f"{required}.write(writer, version)?;" if optional else f"{value}.write(writer, version)?;"
        elif field.type == "records":
            nullable = f"writer.nullable_records(&{value}, {place}, {flexible})?;"
            plain = f"writer.records(&{value}, {place}, {flexible})?;"
        else:
            name, more = ("array", f", {self.write_element(field, flexible)}") if field.is_array else (field.type, "")
            given = f"{value}.as_deref()" if field.is_array else f"{value}.as_ref()"
            nullable = f"writer.nullable_{name}({given}, {place}, {flexible}{more})?;"
            plain = f"writer.{name}({required if optional else '&' + value}, {place}, {flexible}{more})?;"
        if condition is True:
            return nullable
        if condition is False:
            return plain
        return f"if {condition} {{ {nullable} }} else {{ {plain} }}"

    def write_element(self, field, flexible):
        """A closure that writes one element of an array."""
        if field.element in self.structs:
            return "|writer, value| value.write(writer, version)"
        if field.element in SCALAR_TYPES:
            return f"|writer, value| {{ writer.{SCALAR_TYPES[field.element].lower()}(*value); Ok(()) }}"
        return f"|writer, value| writer.{field.element}(value, {self.place(field)}, {flexible})"

    def write_body(self):
        """The statements of `write`."""
        for field in self.struct.fields:
            versions = mandatory(field) & self.within
            condition = versions.condition(self.within) if versions else False
            present = (field.versions & self.within).condition(self.within)
            if condition is not False:
                statement = self.write_value(field, versions, False)
                yield statement if condition is True else f"if {condition} {{ {statement} }}"
            if present is not True and not field.ignorable:
                absent = f"!({present})" if present else "true"
                yield (
                    f"if {absent} && !({self.is_default(field)}) {{ return Err(EncodeError "
                    f"{{ field: {self.place(field)}, problem: EncodeProblem::UnsupportedField }}); }}"
                )
        tags = self.flexible()
        if tags != "false":
            body = " ".join(self.write_tags())
            yield body if tags == "true" else f"if flexible {{ {body} }}"
        yield "Ok(())"

    def write_tags(self):
        """The statements that write the tagged fields: those that differ from their defaults."""
        fields = self.tagged_fields()
        if not fields:
            yield "writer.uvarint(0);"
            return
        flexible_versions = self.message.flexible & self.within
        yield "let mut count = 0;"
        conditions = {}
        for field in fields:
            versions = (field.tagged & field.versions).condition(flexible_versions)
            known = "" if versions is True else f"{versions} && "
            conditions[field.name] = f"{known}!({self.is_default(field)})"
            yield f"if {conditions[field.name]} {{ count += 1; }}"
        yield "writer.uvarint(count);"
        for field in fields:
            versions = field.tagged & field.versions & self.within
            yield (
                f"if {conditions[field.name]} {{ let mark = writer.begin_tag({field.tag});"
                f" {self.write_value(field, versions, True)} writer.end_tag(mark, {self.place(field)})?; }}"
            )

    # The whole

    def wire_bytes_min(self, struct=None):
        """The fewest bytes in any version."""
        struct = struct or self.struct
        sizes = []
        for version in range(struct.versions.first, struct.versions.last + 1):
            size = 1 if version in self.message.flexible else 0
            for field in struct.fields:
                if version in mandatory(field):
                    size += self.field_bytes_min(field, version)
            sizes.append(size)
        return max(1, min(sizes, default=1))

    def field_bytes_min(self, field, version):
        """The fewest bytes of a field in a version."""
        if field.type in SCALAR_BYTES:
            return SCALAR_BYTES[field.type]
        if field.is_struct:
            return 1 if version in field.null else self.wire_bytes_min(self.structs[field.type])
        if version in (field.flexible if field.flexible is not None else self.message.flexible):
            return 1
        return 2 if field.type == "string" else 4

    def code(self):
        """The struct, its Default, its Debug, and how it is read and written."""
        name, fields = self.struct.name, self.struct.fields
        secret = name in SECRET_STRUCTS or any(field.name in SECRET_FIELDS for field in fields)
        trivial = all(self.default(field) is None for field in fields)
        derives = ["Clone", "PartialEq"] + ([] if secret else ["Debug"]) + (["Default"] if trivial else [])
        yield f"#[derive({', '.join(sorted(derives))})]"
        yield f"pub struct {name} {{"
        for field in fields:
            yield f"    pub {field.rust}: {self.rust_type(field)},"
        yield "}"
        if not trivial:
            yield f"impl Default for {name} {{ fn default() -> Self {{ Self {{"
            for field in fields:
                yield f"{field.rust}: {self.default(field) or 'Default::default()'},"
            yield "} } }"
        if secret:
            yield f"impl std::fmt::Debug for {name} {{"
            yield "fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {"
            yield f'formatter.debug_struct("{name}").finish_non_exhaustive() }} }}'
        if self.top:
            first, last = self.message.versions.first, self.message.versions.last
            yield f"impl Message for {name} {{"
            yield f'const NAME: &str = "{name}"; const VERSIONS: RangeInclusive<i16> = {first}..={last};'
        else:
            yield f"impl Element for {name} {{ const WIRE_BYTES_MIN: usize = {self.wire_bytes_min()};"
        read, write = "\n".join(self.read_body()), "\n".join(self.write_body())
        yield self.function("fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>", read, "read")
        yield self.function(
            "fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>", write, "write"
        )
        yield "}"

    def function(self, signature, body, verb):
        """A function with the checks and variables its body needs."""
        lines = []
        if self.top:
            lines.append(f"check_{verb}_version::<Self>(version)?;")
        if "flexible" in body.replace("UnsupportedField", ""):
            lines.append(f"let flexible = {self.message.flexible.condition(self.within)};")
        if not self.top and not re.search(r"\bversion\b", body + "".join(lines)):
            signature = signature.replace("version: i16", "_version: i16")
        if "reader" not in body:
            signature = signature.replace("reader:", "_reader:")
        if "writer" not in body:
            signature = signature.replace("writer:", "_writer:")
        if body.startswith("let mut this") and "this." not in body:
            body = body.replace("let mut this", "let this")
        return signature + " {\n" + "\n".join(lines + [body]) + "\n}"


def sample_code(message):
    """The Rust file that makes random values of a message, for tests."""
    structs = ", ".join(struct.name for struct in message.structs)
    out = [f"//! Random values of {message.name}.", ""]
    out.append(f"use crate::{message.group}::{message.module}::{{{structs}}};")
    out.append("use crate::sample::{Sample, Sampler};")
    for struct in message.structs:
        writer = StructWriter(message, struct)
        body = ["let mut this = Self::default();"]
        for field in struct.fields:
            present = (field.versions & struct.versions).condition(struct.versions)
            nullable = (field.null & struct.versions).condition(struct.versions)
            if not present:
                continue
            value = "records" if field.type == "records" else "value"
            value = f"sampler.{value}(version)"
            if writer.optional(field) or field.type == "records":
                may = {True: "true", False: "false"}.get(nullable, nullable)
                suffix = "nullable_records" if field.type == "records" else "nullable"
                value = f"sampler.{suffix}({may}, version)"
            statement = f"this.{field.rust} = {value};"
            if field.tagged:
                statement = f"if sampler.coin() {{ {statement} }}"
            body.append(statement if present is True else f"if {present} {{ {statement} }}")
        body.append("this")
        text = "\n".join(body)
        if len(body) == 2:
            text = "Self::default()"
        sampler = "sampler" if "sampler" in text else "_sampler"
        version = "version" if re.search(r"\bversion\b", text) else "_version"
        out.append(f"impl Sample for {struct.name} {{")
        out.append(f"fn sample({sampler}: &mut Sampler, {version}: i16) -> Self {{ {text} }} }}")
    return "\n".join(out) + "\n"


def message_code(message, response_of):
    """The Rust file of a message. `response_of` gives a request's response."""
    bodies = []
    for struct in message.structs:
        bodies.append("\n".join(StructWriter(message, struct).code()))
    code = "\n\n".join(bodies)
    versions = f"versions {message.versions.first} to {message.versions.last}"
    key = f"key {message.key}, " if message.key is not None else ""
    out = [f"//! {message.name}: {message.kind}, {key}{versions}.", ""]
    if "RangeInclusive" in code:
        out.append("use std::ops::RangeInclusive;")
    if re.search(r'(?<![".\w])Bytes\b', code):
        out.append("use bytes::Bytes;")
    names = [
        name
        for name in ("DecodeError", "Element", "EncodeError", "EncodeProblem", "Message", "Reader", "Records",
                     "Request", "Str", "Uuid", "Writer", "check_read_version", "check_write_version")
        if name in ("DecodeError", "EncodeError", "Message", "Reader", "Writer")
        or f"{name}::" in code or f"{name}>" in code or f": {name}," in code or f"{name} for" in code
    ]
    if message.kind == "request":
        names.append("Request")
    out.append(f"use crate::wire::{{{', '.join(dict.fromkeys(names))}}};")
    out += ["", code, ""]
    if message.kind == "request":
        response = response_of[message.key]
        out.append(
            f"impl Request for {message.name} {{ const API_KEY: i16 = {message.key};"
            f" type Response = crate::messages::{response.name}; }}"
        )
    return "\n".join(out) + "\n"
