//! Where the broker listens and what clients are told, from Kafka's keys: `listeners`, `advertised.listeners`,
//! `listener.security.protocol.map`, `controller.listener.names`, `inter.broker.listener.name` (Kafka's
//! `AbstractKafkaConfig` and `KafkaConfig`). Only PLAINTEXT is served: a listener that asks for more is refused, since
//! a broker that quietly did without would be worse than none. The controller's own listener is not opened: it is
//! reached inside the process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::resolve::{ConfigError, Resolved};

/// A listener as it is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Its name, such as `PLAINTEXT`.
    pub name: String,
    /// Addresses, of which the first that can be had is taken: every address of a host without IPv6 is 0.0.0.0.
    pub addresses: Vec<SocketAddr>,
    /// Whether the broker may not start without it: of the default ones ::1 may be missing.
    pub required: bool,
    /// Whether `::` must leave IPv4 alone, because another listener has it on that port.
    pub only_v6: bool,
}

/// A listener's address as clients are told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// The listener's name.
    pub name: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 0 stands for the one that was bound.
    pub port: u16,
}

/// All listeners of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listeners {
    /// What is bound, in the order of the configuration.
    pub bind: Vec<Bind>,
    /// What clients are told: one a name.
    pub advertised: Vec<Advertised>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// One entry of `listeners`.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    /// Without brackets; empty for every address.
    host: String,
    port: u16,
}

impl Listeners {
    /// Reads and checks all keys about listeners.
    pub fn new(resolved: &Resolved) -> Result<Self, ConfigError> {
        let controller = resolved.list("controller.listener.names");
        let entries = entries(resolved, "listeners")?;
        let mut listeners = Self::default();
        for entry in &entries {
            if controller.contains(&entry.name.as_str()) {
                listeners.notes.push(format!(
                    "listener {} is not opened: the controller is reached inside this process",
                    entry.name
                ));
                continue;
            }
            check_protocol(resolved, &entry.name)?;
            let required = resolved.is_set("listeners") || listeners.bind.is_empty();
            let bind = bind(entry, required).map_err(|problem| resolved.refuse("listeners", problem))?;
            listeners.bind.push(bind);
        }
        if listeners.bind.is_empty() {
            return Err(resolved.refuse("listeners", "at least one listener for clients is needed"));
        }
        listeners.check_unique().map_err(|problem| resolved.refuse("listeners", problem))?;
        listeners.advertised = advertised(resolved, &entries, &listeners.bind)?;
        for key in ["inter.broker.listener.name", "security.inter.broker.protocol"] {
            let Some(name) = resolved.text(key).filter(|_| resolved.is_set(key)) else { continue };
            if key == "inter.broker.listener.name" && !listeners.bind.iter().any(|bind| bind.name == name) {
                return Err(resolved.refuse(key, "it is none of the names in listeners"));
            }
            if key == "security.inter.broker.protocol" && name != "PLAINTEXT" {
                return Err(resolved.refuse(key, "only PLAINTEXT is served; TLS and SASL are not built yet"));
            }
        }
        Ok(listeners)
    }

    /// A port has one listener, or one for IPv4 and one for IPv6; a name has one listener, or such a pair.
    fn check_unique(&mut self) -> Result<(), String> {
        let is_v6 = |bind: &Bind| bind.addresses.first().is_some_and(SocketAddr::is_ipv6);
        let port = |bind: &Bind| bind.addresses.first().map_or(0, SocketAddr::port);
        for at in 0..self.bind.len() {
            let (before, rest) = self.bind.split_at_mut(at);
            let Some(bind) = rest.first_mut() else { break };
            for other in before {
                let is_pair = is_v6(other) != is_v6(bind);
                if port(other) == port(bind) && port(bind) != 0 && !is_pair {
                    return Err(format!("two listeners have port {}", port(bind)));
                }
                if other.name == bind.name && (!is_pair || port(other) != port(bind)) {
                    return Err(format!("two listeners are called {}", bind.name));
                }
                if port(other) == port(bind) {
                    bind.only_v6 |= is_v6(bind);
                    other.only_v6 |= is_v6(other);
                }
            }
        }
        Ok(())
    }
}

/// The entries of a key, each `NAME://HOST:PORT`.
fn entries(resolved: &Resolved, key: &'static str) -> Result<Vec<Entry>, ConfigError> {
    let listed = resolved.list(key).into_iter();
    listed.map(|text| parse(text).map_err(|problem| resolved.refuse(key, problem))).collect()
}

fn parse(text: &str) -> Result<Entry, String> {
    let form = || format!("{text:?} is not of the form PLAINTEXT://HOST:PORT");
    let (name, rest) = text.split_once("://").filter(|(name, _)| !name.is_empty()).ok_or_else(form)?;
    let (host, port) = rest.rsplit_once(':').ok_or_else(form)?;
    let port = port.parse().map_err(|_| form())?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Err(format!("{text:?}: an IPv6 address stands in brackets, as in PLAINTEXT://[::1]:9092"));
    }
    Ok(Entry { name: name.to_ascii_uppercase(), host: bare.unwrap_or(host).to_owned(), port })
}

/// Refuses a listener whose protocol is not served.
fn check_protocol(resolved: &Resolved, name: &str) -> Result<(), ConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    let map = resolved.list(KEY);
    let pairs = map.iter().filter_map(|pair| pair.split_once(':'));
    let mapped = pairs.map(|(name, protocol)| (name.trim(), protocol.trim()));
    let protocol = mapped
        .filter(|(mapped, _)| mapped.eq_ignore_ascii_case(name))
        .map(|(_, protocol)| protocol.to_ascii_uppercase())
        .next();
    match protocol.as_deref() {
        Some("PLAINTEXT") => Ok(()),
        Some(protocol @ ("SSL" | "SASL_PLAINTEXT" | "SASL_SSL")) => Err(resolved.refuse(
            "listeners",
            format!(
                "{name} asks for {protocol}, and only PLAINTEXT is served; TLS and SASL are not built yet, and \
                 without them the listener would be open to everybody"
            ),
        )),
        Some(other) => Err(resolved.refuse(KEY, format!("{other} is no security protocol"))),
        None => Err(resolved.refuse(KEY, format!("it does not say which protocol {name} has"))),
    }
}

fn bind(entry: &Entry, required: bool) -> Result<Bind, String> {
    let port = entry.port;
    let addresses = if entry.host.is_empty() {
        let (v6, v4) = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        vec![SocketAddr::new(v6, port), SocketAddr::new(v4, port)]
    } else {
        let found = (entry.host.as_str(), port).to_socket_addrs();
        let found = found.map_err(|error| format!("{:?} has no address: {error}", entry.host))?;
        // A name with addresses of both kinds: IPv4 first, as the JVM has it.
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        found.truncate(1);
        found
    };
    Ok(Bind { name: entry.name.clone(), addresses, required, only_v6: false })
}

/// One address a name: `advertised.listeners` where it has the name, else `listeners`.
fn advertised(resolved: &Resolved, listed: &[Entry], bind: &[Bind]) -> Result<Vec<Advertised>, ConfigError> {
    const KEY: &str = "advertised.listeners";
    let given = entries(resolved, KEY)?;
    if let Some(stray) = given.iter().find(|entry| !listed.iter().any(|other| other.name == entry.name)) {
        return Err(resolved.refuse(KEY, format!("{} is none of the names in listeners", stray.name)));
    }
    if let Some(entry) = given.iter().find(|entry| is_wildcard(&entry.host)) {
        return Err(resolved
            .refuse(KEY, format!("clients cannot connect to every address: name one for {}", entry.name)));
    }
    let mut told: Vec<Advertised> = Vec::new();
    for name in bind.iter().map(|bind| &bind.name) {
        if told.iter().any(|other| other.name == *name) {
            continue;
        }
        let named = |entry: &&Entry| entry.name == *name;
        let Some(entry) = given.iter().find(named).or_else(|| listed.iter().find(named)) else { continue };
        let host = if is_wildcard(&entry.host) { host_name(resolved)? } else { entry.host.clone() };
        told.push(Advertised { name: name.clone(), host, port: entry.port });
    }
    Ok(told)
}

fn is_wildcard(host: &str) -> bool {
    host.is_empty() || host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn host_name(resolved: &Resolved) -> Result<String, ConfigError> {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .ok_or_else(|| resolved.refuse("advertised.listeners", "set it: this host has no name to advertise"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::Sources;

    fn listeners(set: &[&str]) -> Result<Listeners, String> {
        let set = set.iter().map(|&entry| entry.to_owned()).collect();
        let resolved = Resolved::new(&Sources { set, ..Sources::default() }).unwrap();
        Listeners::new(&resolved).map_err(|error| error.to_string())
    }

    fn told(set: &[&str]) -> Vec<(String, String, u16)> {
        let advertised = listeners(set).unwrap().advertised.into_iter();
        advertised.map(|advertised| (advertised.name, advertised.host, advertised.port)).collect()
    }

    #[test]
    fn without_configuration_both_loopback_addresses_are_one_listener() {
        let listeners = listeners(&[]).unwrap();
        let found: Vec<_> = listeners.bind.iter().map(|bind| (bind.addresses[0], bind.required)).collect();
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 9092));
        assert_eq!(found, [(SocketAddr::from(([127, 0, 0, 1], 9092)), true), (v6, false)]);
        assert_eq!(told(&[]), [("PLAINTEXT".into(), "127.0.0.1".into(), 9092)]);
    }

    #[test]
    fn a_combined_node_opens_its_clients_listeners_only() {
        let set = [
            "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://:9093,LAN://127.0.0.2:9094",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=CONTROLLER:SSL,PLAINTEXT:PLAINTEXT, LAN:PLAINTEXT",
            "inter.broker.listener.name=LAN",
            "advertised.listeners=LAN://kafka.example:19094,CONTROLLER://localhost:9093",
        ];
        let found = listeners(&set).unwrap();
        assert_eq!(found.bind.iter().map(|bind| &bind.name[..]).collect::<Vec<_>>(), ["PLAINTEXT", "LAN"]);
        assert_eq!(found.notes.len(), 1, "{:?}", found.notes);
        let expected =
            [("PLAINTEXT".into(), "127.0.0.1".into(), 9092), ("LAN".into(), "kafka.example".into(), 19094)];
        assert_eq!(told(&set), expected);
    }

    #[test]
    fn every_address_advertises_the_name_of_the_host() {
        let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
        for host in ["", "0.0.0.0", "[::]"] {
            let told = told(&[&format!("listeners=PLAINTEXT://{host}:9092")]);
            assert_eq!(told, [("PLAINTEXT".into(), name.clone(), 9092)], "{host}");
        }
        let any = listeners(&["listeners=PLAINTEXT://:9092"]).unwrap();
        assert_eq!(any.bind[0].addresses.len(), 2, "IPv6 with IPv4, or IPv4 alone");
    }

    #[test]
    fn ipv4_and_ipv6_may_share_a_port() {
        let set = [
            "listeners=A://0.0.0.0:9092,B://[::]:9092",
            "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
        ];
        let found = listeners(&set).unwrap();
        assert_eq!(found.bind.iter().map(|bind| bind.only_v6).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_the_reason() {
        let map = "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,S:SASL_SSL";
        for (set, part) in [
            (&["listeners=127.0.0.1:9092"][..], "form"),
            (&["listeners=PLAINTEXT://::1:9092"], "brackets"),
            (&["listeners=PLAINTEXT://127.0.0.1:x"], "form"),
            (&["listeners=SSL://127.0.0.1:9092"], "TLS"),
            (&["listeners=S://127.0.0.1:9092", map], "SASL_SSL"),
            (&["listeners=OTHER://127.0.0.1:9092"], "which protocol"),
            (&["listeners=A://127.0.0.1:9092,B://127.0.0.2:9092", map], "port 9092"),
            (&["listeners=A://127.0.0.1:9092,A://127.0.0.1:9093", map], "called A"),
            (&["advertised.listeners=PLAINTEXT://0.0.0.0:9092"], "every address"),
            (&["advertised.listeners=OTHER://a:9092"], "OTHER"),
            (&["inter.broker.listener.name=OTHER"], "none of the names"),
            (&["security.inter.broker.protocol=SSL"], "TLS"),
            (&["listeners=C://:9093", "controller.listener.names=C"], "at least one"),
        ] {
            let text = listeners(set).unwrap_err();
            assert!(text.contains(part), "{set:?}: {text}");
        }
    }
}
