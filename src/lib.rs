//! imgforge.
pub mod catalog;
pub mod diagnostic;
pub mod http;
pub mod lock;
pub mod oci;
pub mod packaging;
pub mod plan;
pub mod progress;
pub mod redact;
pub mod resolve;
pub mod spec;
pub mod store;
pub mod version;
