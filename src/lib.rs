//! imgforge.
pub mod diagnostic;
pub mod http;
pub mod index;
pub mod lock;
pub mod oci;
pub mod packaging;
pub mod plan;
pub mod progress;
pub mod redact;
pub mod settings;
pub mod spec;
pub mod store;
pub mod version;
