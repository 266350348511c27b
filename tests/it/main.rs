//! The tests that run the program, or look at the tree, as a user or a reviewer would. What can be shown with a module
//! alone is tested beside it in `src/`.
//!
//! - `attest`: bills of materials, provenance and signatures beside an image, read by the tools of others
//! - `build`: from a spec to a container that runs
//! - `byte_code`: modules compiled ahead, the same by whichever interpreter, and loaded by the image's
//! - `cli`: exit codes, streams and words
//! - `differential`: real wheels, installed by imgforge, by uv and by pip
//! - `examples`: the committed locks and rendered files
//! - `golden`: the digests of three locked specs, the same on every machine
//! - `hostile`: real wheels, damaged
//! - `layering`: which module may import which, and words that no file may hold
//! - `overlay`: a company's own cards, machines, frameworks and indexes, as the catalog's README shows them
//! - `parts`: the real parts that the other tests lean on: the engine, the registry, the stand-in images
//! - `render`: rendered files, read by hadolint and Docker Compose
//! - `registry`: push and pull as a library, against the CNCF registry
//! - `reproducible`: same lock, same bytes
//! - `reuse`: layers that a registry has are not made again
//! - `robust`: builds that are interrupted, killed, out of space or not alone
//! - `share`: an environment that a colleague brings back from a registry, verifies and looks into
//! - `stack`: the quickstart with its database and its tracking server
//! - `truth`: what experts would answer, against what the program says from the catalog
//! - `support`: those parts, and the program with a home of its own

mod attest;
mod build;
mod byte_code;
mod cli;
mod differential;
mod examples;
mod golden;
mod hostile;
mod layering;
mod overlay;
mod parts;
mod registry;
mod render;
mod reproducible;
mod reuse;
mod robust;
mod share;
mod stack;
mod support;
mod truth;
