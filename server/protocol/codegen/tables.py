"""Writes what spans messages: the module files, the table of API keys, the enums of record types."""

from dataclasses import dataclass

import rust

GROUPS = {
    "messages": "Requests, responses, headers, and the data types of the client and raft protocols.",
    "metadata": "The values of the records in the `__cluster_metadata` log.",
    "coordinator": "The keys and values of the records in the coordinators' internal topics.",
}


@dataclass(frozen=True)
class Family:
    """Record types that are told apart by a number in front of them."""

    name: str
    module: str
    kind: str
    prefixes: tuple
    what: str

    def holds(self, message):
        """True if the message belongs to the family."""
        return message.kind == self.kind and message.name.startswith(self.prefixes)


SHARE = ("ShareSnapshot", "ShareUpdate")
TRANSACTION = ("TransactionLog",)
GROUP = ("Consumer", "Group", "LegacyOffset", "OffsetCommit", "ShareGroup", "StreamsGroup")
FAMILIES = [
    Family("MetadataRecord", "record", "metadata", ("",), "One record of the metadata log, of any type."),
    Family("GroupKey", "group_key", "coordinator-key", GROUP, "The key of a record in `__consumer_offsets`."),
    Family("GroupValue", "group_value", "coordinator-value", GROUP, "The value of a record in `__consumer_offsets`."),
    Family("TransactionKey", "transaction_key", "coordinator-key", TRANSACTION,
           "The key of a record in `__transaction_state`."),
    Family("TransactionValue", "transaction_value", "coordinator-value", TRANSACTION,
           "The value of a record in `__transaction_state`."),
    Family("ShareKey", "share_key", "coordinator-key", SHARE, "The key of a record in `__share_group_state`."),
    Family("ShareValue", "share_value", "coordinator-value", SHARE,
           "The value of a record in `__share_group_state`."),
]


def module_file(group, messages):
    """The `mod.rs` of one group."""
    yield f"//! {GROUPS[group]}"
    yield ""
    for message in messages:
        yield f"pub mod {message.module};"
    yield ""
    for message in messages:
        yield f"pub use {message.module}::{message.name};"
    yield ""


def record_enum(family, messages):
    """An enum over the records of one family."""
    yield f"//! {family.what}"
    yield "use crate::wire::{DecodeError, DecodeProblem, EncodeError, Message, Reader, Writer};"
    group = messages[0].group
    yield f"use crate::{group};"
    yield f"/// {family.what}"
    yield "#[derive(Clone, Debug, PartialEq)]"
    yield f"pub enum {family.name} {{"
    for message in messages:
        yield f"{variant(message)}({group}::{message.name}),"
    yield "}"
    yield f"impl {family.name} {{"
    yield "/// The number of the record's type."
    yield "pub fn api_key(&self) -> i16 { match self {"
    for message in messages:
        yield f"Self::{variant(message)}(_) => {message.key},"
    yield "} }"
    yield "/// The newest version of the record's type."
    yield "pub fn highest_version(&self) -> i16 { match self {"
    for message in messages:
        yield f"Self::{variant(message)}(_) => {message.versions.last},"
    yield "} }"
    yield "/// Reads the body of a record of that type and version."
    yield "pub fn read(api_key: i16, version: i16, reader: &mut Reader) -> Result<Self, DecodeError> {"
    yield "match api_key {"
    for message in messages:
        yield f"{message.key} => {group}::{message.name}::read(reader, version).map(Self::{variant(message)}),"
    yield (
        f'_ => Err(DecodeError {{ field: "{family.name}",'
        " problem: DecodeProblem::UnknownKey { key: i64::from(api_key) } }),"
    )
    yield "} }"
    yield "/// Appends the body of the record in that version."
    yield "pub fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> { match self {"
    for message in messages:
        yield f"Self::{variant(message)}(record) => record.write(writer, version),"
    yield "} }"
    yield "}"
    for message in messages:
        yield f"impl From<{group}::{message.name}> for {family.name} {{"
        yield f"fn from(record: {group}::{message.name}) -> Self {{ Self::{variant(message)}(record) }} }}"


def variant(message):
    """The name of a record's variant: Kafka's name without the ending all of the family share."""
    if message.group == "metadata":
        return message.name.removesuffix("Record")
    return message.name.removesuffix("Key").removesuffix("Value")


def api_keys(messages):
    """The enum of API keys with the facts the registry serves."""
    requests = sorted((message for message in messages if message.kind == "request"), key=lambda message: message.key)
    responses = {message.key: message for message in messages if message.kind == "response"}
    yield "//! The table of API keys."
    yield "use std::ops::RangeInclusive;"
    yield "/// An API of Kafka's protocol."
    yield "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]"
    yield "#[repr(i16)]"
    yield "pub enum ApiKey {"
    for message in requests:
        yield f"{message.name.removesuffix('Request')} = {message.key},"
    yield "}"
    yield "impl ApiKey {"
    yield "/// Every key, ascending."
    yield f"pub const ALL: [Self; {len(requests)}] = ["
    for message in requests:
        yield f"Self::{message.name.removesuffix('Request')},"
    yield "];"
    yield "pub(crate) fn from_code(code: i16) -> Option<Self> { match code {"
    for message in requests:
        yield f"{message.key} => Some(Self::{message.name.removesuffix('Request')}),"
    yield "_ => None } }"
    yield "/// Kafka's name, such as `Produce`."
    yield "pub fn name(self) -> &'static str { match self {"
    for message in requests:
        short = message.name.removesuffix("Request")
        yield f'Self::{short} => "{short}",'
    yield "} }"
    yield "/// The versions that are readable and that Kafka has released."
    yield "pub fn versions(self) -> RangeInclusive<i16> { match self {"
    for message in requests:
        last = message.versions.last - (1 if message.unstable else 0)
        yield f"Self::{message.name.removesuffix('Request')} => {message.versions.first}..={last},"
    yield "} }"
    for function, what, source in (
        ("first_flexible_request", "requests", {message.key: message for message in requests}),
        ("first_flexible_response", "responses", responses),
    ):
        yield f"/// From which version on the {what} are flexible (KIP-482)."
        yield f"pub(crate) fn {function}(self) -> Option<i16> {{ match self {{"
        for message in requests:
            flexible = source[message.key].flexible & source[message.key].versions
            value = f"Some({max(flexible.first, 0)})" if flexible else "None"
            yield f"Self::{message.name.removesuffix('Request')} => {value},"
        yield "} }"
    yield "}"


def catalog(messages):
    """The list of everything that can be read and written."""
    yield "//! The list of all types."
    yield "use crate::{catalog::{Entry, entry}, coordinator, messages, metadata};"
    yield "/// Every type, by group and name."
    yield f"pub(crate) static ENTRIES: [Entry; {len(messages)}] = ["
    for message in messages:
        yield f"entry::<{message.group}::{message.name}>(),"
    yield "];"


def tables(messages):
    """Path and text of every file that spans messages."""
    result = {}
    for group in GROUPS:
        members = [message for message in messages if message.group == group]
        text = "\n".join(module_file(group, members))
        for family in FAMILIES:
            records = sorted(filter(family.holds, members), key=lambda message: message.key)
            if records:
                text += f"\nmod {family.module};\npub use {family.module}::{family.name};\n"
                result[f"{group}/{family.module}.rs"] = "\n".join(record_enum(family, records)) + "\n"
        result[f"{group}/mod.rs"] = text
    result["api_key.rs"] = "\n".join(api_keys(messages)) + "\n"
    result["catalog.rs"] = "\n".join(catalog(messages)) + "\n"
    for message in messages:
        result[f"samples/{message.module}.rs"] = rust.sample_code(message)
    result["samples/mod.rs"] = (
        "//! Random values of every type, for tests.\n"
        + "".join(f"mod {message.module};\n" for message in messages)
    )
    result["mod.rs"] = (
        "//! Everything that codegen/generate.py writes.\n"
        "#![allow(\n"
        "    missing_docs, clippy::pedantic, clippy::too_many_lines, clippy::nonminimal_bool, clippy::collapsible_if,\n"
        "    clippy::field_reassign_with_default, clippy::fn_params_excessive_bools,\n"
        '    reason = "generated: the schema files are what is read and reviewed"\n'
        ")]\n"
        "pub(crate) mod api_key;\npub(crate) mod catalog;\npub mod coordinator;\npub mod messages;\npub mod metadata;\n"
        '#[cfg(feature = "sample")]\nmod samples;\n'
    )
    return result
