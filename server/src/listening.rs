//! Opens the listeners of the configuration: what is bound, which name each address has, and what clients are told.

use std::net::{SocketAddr, TcpListener};

use crate::config::BrokerConfig;
use crate::handler::ListenerAddress;
use crate::metadata::image::Endpoint;
use crate::net;

/// The open listeners.
#[derive(Debug)]
pub struct Listening {
    /// Bound sockets, listening; nothing is accepted yet.
    pub sockets: Vec<TcpListener>,
    /// The address of each socket and the name of its listener.
    pub addresses: Vec<ListenerAddress>,
    /// What clients are told, by listener.
    pub endpoints: Vec<Endpoint>,
}

impl Listening {
    /// Binds every listener. The error says what to do.
    pub fn open(config: &BrokerConfig) -> Result<Self, String> {
        let (mut sockets, mut addresses) = (Vec::new(), Vec::new());
        for bind in &config.listeners.bind {
            let mut bound = None;
            for &address in &bind.addresses {
                // The last failure counts: that of IPv4, which every host has.
                let options =
                    net::BindOptions { address, only_v6: bind.only_v6, backlog: config.listen_backlog };
                bound = Some(net::bind(options));
                if let Some(Ok(_)) = bound {
                    break;
                }
            }
            match bound {
                Some(Ok(socket)) => {
                    let address = socket.local_addr().map_err(|error| format!("{}: {error}", bind.name))?;
                    addresses.push(ListenerAddress { address, name: bind.name.clone() });
                    sockets.push(socket);
                }
                Some(Err(error)) if bind.required => return Err(error.to_string()),
                Some(Err(error)) => tracing::debug!("{error}"),
                None => {}
            }
        }
        let endpoints = config.listeners.advertised.iter().map(|told| Endpoint {
            name: told.name.as_str().into(),
            host: told.host.as_str().into(),
            port: if told.port == 0 { bound_port(&addresses, &told.name) } else { told.port },
            security_protocol: 0,
        });
        Ok(Self { sockets, endpoints: endpoints.collect(), addresses })
    }

    /// The addresses for a person.
    pub fn in_words(&self) -> String {
        let addresses = self.addresses.iter().map(|listener| match listener.name.as_str() {
            "PLAINTEXT" => listener.address.to_string(),
            name => format!("{} ({name})", listener.address),
        });
        addresses.collect::<Vec<_>>().join(" and ")
    }

    /// Where a client on this host connects to, HOST:PORT.
    pub fn bootstrap(&self) -> String {
        let Some(first) = self.endpoints.first() else { return String::new() };
        if first.host.contains(':') {
            format!("[{}]:{}", first.host, first.port)
        } else {
            format!("{}:{}", first.host, first.port)
        }
    }
}

fn bound_port(addresses: &[ListenerAddress], name: &str) -> u16 {
    let named = addresses.iter().find(|listener| listener.name == name);
    named.map_or(0, |listener| SocketAddr::port(&listener.address))
}
