//! Stage 6b: a plan as an OCI image, without a daemon.

pub mod base;
