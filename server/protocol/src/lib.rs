//! The Kafka wire codec.
