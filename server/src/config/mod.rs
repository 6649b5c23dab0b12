//! Configuration: one table of keys ([`broker_keys`], [`topic_keys`], in the terms of [`table`]), where values come from
//! ([`resolve`] at the start, [`layers`] while the broker runs), and what the broker makes of them ([`broker`]).

pub mod broker;
pub mod broker_keys;
pub mod group_keys;
mod groups;
pub mod internal_topic_keys;
pub mod kafka_keys;
pub mod layers;
pub mod listeners;
mod node;
pub mod properties;
pub mod resolve;
pub mod table;
pub mod topic_keys;
pub mod without_effect;

pub use broker::BrokerConfig;
pub use resolve::{ConfigError, Resolved, Sources};
