//! Configuration: one table of keys ([`table`]), where values come from ([`resolve`]), and what the broker
//! makes of them ([`broker`]).

pub mod broker;
pub mod properties;
pub mod resolve;
pub mod table;

pub use broker::BrokerConfig;
pub use resolve::{ConfigError, Resolved, Sources};
