//! The contract of `spec.yaml`, right and wrong.

use std::path::Path;

use super::*;
use crate::diagnostic::{Failure, Hint as _};

fn parse(text: &str) -> Result<Spec, Error> {
    Spec::parse(Path::new("spec.yaml"), text, Path::new("/nonexistent"))
}

fn rendered(error: Error) -> String {
    assert_eq!(error.exit_code(), 2);
    anstream::adapter::strip_str(&Failure::from(error).render()).to_string()
}

#[test]
fn probe() {
    for text in [
        "name: x\ntargets:\n  - aws/g4dn.xlarge\n  - {gpu: \"RTX 4090\", drivr: 5}\n",
        "name: é\nénv: &a 2.10\n",
        "name: x\nframeworks:\n  pytorch: 2.10\n  jax: {version: 3.10, with: torch}\n",
        "name: x\r\ncommand: python\r\n",
        "- a\n- b\n",
        "name:\n",
        "name: x\nservices:\n  redis:\n  mlflow: {backend: postgres}\n",
        "name: x\npackages:\n",
        "name: x\npackages: [\"torch >>= 2\"]\n",
        "name: x\nname: y\n",
        "name: x\n---\nname: y\n",
        "name: x\nservices:\n\tredis: {}\n",
        "name: x\ntargets: [{driver: 5}]\n",
        "name: [\n",
        "name: x\nenv: {A: [1]}\n",
        "name: x\nfoo: {a: 1}\n",
        "name: x\ncommand: {a: 1}\n",
        "name: x\ntargets: [[a]]\n",
        "name: x\ntargets: [true, ~]\n",
        "name: x\nenv: {A: ~}\n",
        "name: x\nimage: ~\n",
        "name: x\nimage: y\n",
    ] {
        println!("=== {text}");
        match parse(text) {
            Ok(spec) => println!("{spec:#?}"),
            Err(error) => println!("{}", rendered(error)),
        }
    }
}
