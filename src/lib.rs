//! imgforge: from a short `spec.yaml` to a locked, reproducible OCI image.
//!
//! The stages, in the order data flows through them:
//!
//! ```text
//! spec ─ catalog ─ resolve ─ lock ─ plan ─┬─ render ── Dockerfile, compose.yaml, requirements.txt
//!                                         └─ assemble ─ OCI image ─ publish ─ layout | registry | engine
//! ```
//!
//! - [`spec`]: what the user asked for, every value with its place in the file.
//! - [`catalog`]: what exists; facts with sources, embedded, overlays on top.
//! - [`update`]: what upstream says today, held against the catalog. No IO: it asks an `Upstream`.
//! - [`resolve`]: which versions fit together. No IO: it asks a `PackageSource`.
//! - [`lock`]: the decision on disk. After it nobody asks the catalog or an index what to take.
//! - [`plan`]: the decision as ordered steps, the one source of both branches.
//! - [`render`]: steps to text, through Tera templates.
//! - [`assemble`]: steps to layers and an image, without a daemon.
//! - [`publish`]: an image to a layout on disk, a registry or a local engine.
//! - [`attest`]: what is said about an image beside it: bill of materials, provenance, signatures.
//! - [`export`]: the lock in other tools' formats.
//!
//! Beside them the outside world: [`index`] (Python package indexes), [`debian`] (signed archives), [`registry`] (OCI
//! distribution), over [`http`], [`store`], [`parallel`] and [`settings`]; and the vocabulary: [`version`], [`packaging`], [`oci`],
//! [`hierarchy`]. Imports point one way along this list; `tests/it/layering.rs` holds that.
//!
//! Files a user sees: `spec.yaml` and `imgforge.lock` beside it; `generated/NAME/` with the rendered files, `.env` and
//! the image layout `oci/`; the cache (`imgforge cache dir`).

pub mod assemble;
pub mod attest;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod debian;
pub mod diagnostic;
pub mod export;
pub mod hierarchy;
pub mod http;
pub mod index;
pub mod lock;
pub mod oci;
pub mod packaging;
pub mod parallel;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod redact;
pub mod registry;
pub mod render;
pub mod resolve;
pub mod settings;
pub mod share;

pub mod spec;
pub mod store;
pub mod update;
pub mod version;
