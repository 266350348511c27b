//! Version vocabulary: the kinds of number that look alike and must not be mixed.
//!
//! Python packages follow PEP 440 (`pep440_rs`) and Debian packages their own order (`debversion`); what neither covers
//! is here. Every type parses, orders and displays, and knows nothing of where its values come from.

mod dotted;
mod python;
mod wheel_place;
pub mod wheel_tag;

pub use dotted::{ComputeCapability, CudnnVersion, Dotted, DriverBranch, DriverVersion, ParseError, ToolkitVersion};
pub use python::PythonVersion;
pub use wheel_place::{PlaceError, WheelPlace};
