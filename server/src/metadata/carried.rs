//! Records of things that ringmain does not act on yet (quotas, ACLs, credentials, delegation tokens), kept so
//! that a snapshot holds all that the log held: a directory taken over from Apache loses nothing.

use ringmain_protocol::metadata::MetadataRecord;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The newest record of each such thing. No derived `Debug`: some are credentials.
#[derive(Clone, Default, PartialEq)]
pub struct Carried {
    records: Arc<BTreeMap<(i16, Vec<u8>), MetadataRecord>>,
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Carried({} records)", self.records.len())
    }
}

impl Carried {
    /// Keeps the record, or lets go of what it removes.
    pub(super) fn replay(&mut self, record: &MetadataRecord) {
        let (kind, name, is_removal) = match record {
            MetadataRecord::ClientQuota(quota) => {
                let mut parts: Vec<&str> = vec![&quota.key];
                for entity in &quota.entity {
                    // A default entity has no name; no entity's name has a NUL character.
                    parts.extend([&*entity.entity_type, entity.entity_name.as_deref().unwrap_or("\0")]);
                }
                (14, parts.join("\0\0").into_bytes(), quota.remove)
            }
            MetadataRecord::AccessControlEntry(entry) => (18, entry.id.as_bytes().to_vec(), false),
            MetadataRecord::RemoveAccessControlEntry(entry) => (18, entry.id.as_bytes().to_vec(), true),
            MetadataRecord::UserScramCredential(user) => (11, scram_name(&user.name, user.mechanism), false),
            MetadataRecord::RemoveUserScramCredential(user) => {
                (11, scram_name(&user.name, user.mechanism), true)
            }
            MetadataRecord::DelegationToken(token) => (10, token.token_id.as_bytes().to_vec(), false),
            MetadataRecord::RemoveDelegationToken(token) => (10, token.token_id.as_bytes().to_vec(), true),
            _ => return,
        };
        let records = Arc::make_mut(&mut self.records);
        if is_removal {
            records.remove(&(kind, name));
        } else {
            records.insert((kind, name), record.clone());
        }
    }

    /// The records that make all of it anew.
    pub fn records(&self) -> impl Iterator<Item = &MetadataRecord> {
        self.records.values()
    }
}

fn scram_name(name: &str, mechanism: i8) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.extend(mechanism.to_be_bytes());
    bytes
}
