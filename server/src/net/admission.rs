//! How many connections there are, in all and from each address: one count for all shards, looked at when a
//! connection is accepted and when it ends, never in between. That is why a lock is good enough.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counts of the process.
#[derive(Debug, Default)]
pub struct Admissions {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Limits at one time; they may change while the broker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Connections in all (`max.connections`).
    pub all_max: usize,
    /// Connections from one address (`max.connections.per.ip` and its overrides).
    pub address_max: usize,
}

/// A counted connection: dropping it takes it off. It may end on another thread than it began on.
#[derive(Debug)]
pub struct Admission {
    admissions: Arc<Admissions>,
    address: IpAddr,
}

/// Which limit is reached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are too many connections.
    #[error("max.connections is reached")]
    All,
    /// There are too many from that address.
    #[error("max.connections.per.ip is reached")]
    Address,
}

impl Admissions {
    /// Counts a connection from an address if the limits allow one more.
    pub fn admit(self: &Arc<Self>, address: IpAddr, limits: AdmissionLimits) -> Result<Admission, Refused> {
        let address = address.to_canonical();
        let mut counts = self.counts();
        if counts.all >= limits.all_max {
            return Err(Refused::All);
        }
        if counts.by_address.get(&address).copied().unwrap_or(0) >= limits.address_max {
            return Err(Refused::Address);
        }
        counts.all += 1;
        *counts.by_address.entry(address).or_insert(0) += 1;
        Ok(Admission { admissions: Arc::clone(self), address })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.admissions.counts();
        counts.all -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// The limit of one address: that of `max.connections.per.ip.overrides` (`ADDRESS:COUNT,…`) or the general one.
pub(super) fn address_max(overrides: &str, address: IpAddr, general: usize) -> usize {
    let address = address.to_canonical();
    let pairs = overrides.split(',').filter_map(|pair| pair.trim().rsplit_once(':'));
    let own = pairs
        .filter(|(host, _)| host.trim_matches(['[', ']']).parse() == Ok(address))
        .find_map(|(_, count)| count.trim().parse().ok());
    own.unwrap_or(general)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn connections_are_counted_in_all_and_by_address_until_they_end() {
        let admissions = Arc::new(Admissions::default());
        let limits = AdmissionLimits { all_max: 3, address_max: 2 };
        let there: IpAddr = "10.0.0.1".parse().unwrap();
        let first = admissions.admit(HERE, limits).unwrap();
        let second = admissions.admit("::ffff:127.0.0.1".parse().unwrap(), limits).unwrap();
        assert_eq!(admissions.admit(HERE, limits).unwrap_err(), Refused::Address);
        let third = admissions.admit(there, limits).unwrap();
        assert_eq!(admissions.admit(there, limits).unwrap_err(), Refused::All);
        drop((first, third));
        let again = admissions.admit(HERE, limits).unwrap();
        drop((second, again));
        assert!(admissions.counts().by_address.is_empty(), "addresses without connections are forgotten");
    }

    #[test]
    fn an_address_may_have_a_limit_of_its_own() {
        let overrides = "127.0.0.1:5, [::1]:6,10.0.0.1:x";
        assert_eq!(address_max(overrides, HERE, 9), 5);
        assert_eq!(address_max(overrides, "::1".parse().unwrap(), 9), 6);
        assert_eq!(address_max(overrides, "10.0.0.1".parse().unwrap(), 9), 9);
        assert_eq!(address_max("", HERE, 9), 9);
    }
}
