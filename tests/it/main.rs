//! The integration tests, one binary. They use real parts: a registry, Docker's tools, Debian's archive.

mod registry;
mod support;
