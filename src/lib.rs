//! imgforge.
pub mod assemble;
pub mod diagnostic;
pub mod http;
pub mod lock;
pub mod oci;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod redact;
pub mod registry;
pub mod spec;
pub mod store;
pub mod version;
