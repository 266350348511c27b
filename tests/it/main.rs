//! The tests that run the program, or look at the tree, as a user or a reviewer would. What can be shown with a module
//! alone is tested beside it in `src/`.
//!
//! - `attest`: bills of materials, provenance and signatures beside an image, read by the tools of others
//! - `build`: from a spec to a container that runs
//! - `byte_code`: modules compiled ahead, the same by whichever interpreter, and loaded by the image's
//! - `ci`: the workflow files for CI services, run
//! - `cli`: exit codes, streams and words
//! - `compare`: two published images side by side
//! - `cosign`: signatures and statements that it and imgforge make for each other
//! - `differential`: real wheels, installed by imgforge, by uv and by pip
//! - `examples`: the committed locks and rendered files
//! - `foreign`: an image for another processor, run by an emulator
//! - `golden`: the digests of three locked specs, the same on every machine
//! - `hostile`: real wheels, damaged
//! - `hosts`: plain http, proxies, mirrors and client certificates, host by host
//! - `killed_push`: pushes that are killed at any moment
//! - `labels`: one build on an index that labels the wheels of one platform and not those of the other
//! - `layering`: which module may import which, and words that no file may hold
//! - `mirror`: the images of others in a registry of one's own, without the one that they came from
//! - `overlay`: a company's own cards, machines, frameworks and indexes, as the catalog's README shows them
//! - `parts`: the real parts that the other tests lean on: the engine, the registry, the stand-in images
//! - `project`: a project's files in the image, and their user
//! - `published`: what lies beside an image that was pushed, on registries that take it and on those that do not
//! - `render`: rendered files, read by hadolint and Docker Compose
//! - `registry`: push and pull as a library, against the CNCF registry
//! - `reproducible`: same lock, same bytes
//! - `reuse`: layers that a registry has are not made again
//! - `robust`: builds that are interrupted, killed, out of space or not alone
//! - `runtimes`: pushed images in Podman and containerd
//! - `secrets`: credentials of every kind, searched for in all that was pushed, written and said
//! - `share`: an environment that a colleague brings back from a registry, verifies and looks into
//! - `signed`: keys, and images that only count with a signature
//! - `stack`: the quickstart with its database and its tracking server
//! - `truth`: what experts would answer, against what the program says from the catalog
//! - `support`: those parts, and the program with a home of its own

mod attest;
mod build;
mod byte_code;
mod ci;
mod cli;
mod compare;
mod cosign;
mod differential;
mod examples;
mod foreign;
mod golden;
mod hostile;
mod hosts;
mod killed_push;
mod labels;
mod layering;
mod mirror;
mod overlay;
mod parts;
mod project;
mod published;
mod registry;
mod render;
mod reproducible;
mod reuse;
mod robust;
mod runtimes;
mod secrets;
mod share;
mod signed;
mod stack;
mod support;
mod truth;
