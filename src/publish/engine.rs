//! Into Docker or Podman on this machine, through a pipe into their `load`: nothing is written to disk but by the engine.

use std::io::{self, BufWriter};
use std::process::{Command, Stdio};

use super::archive::{self, Format};
use super::{Error, localize};
use crate::oci::AssembledImage;
use crate::progress::Progress;
use crate::registry::Registries;
use crate::store::Store;

/// A container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// Docker Engine.
    Docker,
    /// Podman.
    Podman,
}

impl EngineKind {
    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// An engine that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// What it is, whatever its program is called: distributions install Podman as `docker`.
    pub kind: EngineKind,
    /// The program to start.
    pub program: String,
    /// Version of the part that holds images: Docker's daemon, or Podman.
    pub version: String,
}

impl Engine {
    /// The engine asked for, or the first that answers, Docker before Podman.
    pub fn find(wanted: Option<EngineKind>) -> Result<Self, Error> {
        let programs = match wanted {
            Some(kind) => vec![kind.program()],
            None => vec!["docker", "podman"],
        };
        let mut tried = Vec::new();
        for program in programs {
            match recognise(program, |arguments| run(program, arguments)) {
                Ok(engine) => return Ok(engine),
                Err(problem) => tried.push((program.to_owned(), problem)),
            }
        }
        Err(Error::NoEngine { tried })
    }

    /// Loads one image under `names` (`churn:latest`). Both engines complete a name without a registry to one of Docker Hub;
    /// `localhost/churn:latest` stays as it is.
    pub fn load(
        &self,
        registries: &Registries,
        store: &Store,
        image: &AssembledImage,
        names: &[String],
        progress: &Progress,
    ) -> Result<(), Error> {
        let images = localize(registries, store, std::slice::from_ref(image), progress)?;
        let task = progress.task(format!("loading into {}", self.program), Some(image.layers_size()));
        let failed = |source| Error::Engine { program: self.program.clone(), source };
        let format = match self.kind {
            EngineKind::Docker => Format::Both,
            EngineKind::Podman => Format::Docker,
        };
        let mut process = Command::new(&self.program)
            .arg("load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let pipe = process.stdin.take();
        // The engine may write while it reads: both are served at once, or both would wait for each other.
        let (written, output) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let Some(pipe) = pipe else { return Err(io::Error::other("it takes no input")) };
                let mut pipe = BufWriter::with_capacity(256 << 10, pipe);
                archive::write(&mut pipe, &images, names, format, &mut |bytes| task.advance(bytes))
            });
            let output = process.wait_with_output();
            (writer.join().unwrap_or_else(|_| Err(io::Error::other("the writing thread failed"))), output)
        });
        let output = output.map_err(failed)?;
        if !output.status.success() {
            let message = last_lines(&output.stderr).or_else(|| last_lines(&output.stdout));
            let message = message.unwrap_or_else(|| format!("it ended with {}", output.status));
            return Err(Error::EngineRefused { program: self.program.clone(), message });
        }
        written.map_err(failed)?;
        task.done(format!("loaded `{}` into {}", names.join("`, `"), self.program));
        Ok(())
    }
}

/// Finds out what a program is; `ask` runs it with arguments and returns what it said, or why not.
fn recognise(program: &str, ask: impl Fn(&[&str]) -> Result<String, String>) -> Result<Engine, String> {
    let told = ask(&["--version"])?;
    let kind = if told.to_lowercase().contains("podman") { EngineKind::Podman } else { EngineKind::Docker };
    let version = match kind {
        // Only this reaches the daemon.
        EngineKind::Docker => ask(&["version", "--format", "{{.Server.Version}}"])?,
        EngineKind::Podman => told.split_whitespace().last().unwrap_or_default().to_owned(),
    };
    Ok(Engine { kind, program: program.to_owned(), version })
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err("not installed".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    if !output.status.success() {
        return Err(last_lines(&output.stderr).unwrap_or_else(|| format!("it ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The end of what a program said, on one line.
fn last_lines(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let end = lines.len().saturating_sub(3);
    lines.get(end..).filter(|lines| !lines.is_empty()).map(|lines| lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_is_recognised_under_dockers_name() {
        let engine = recognise("docker", |_| Ok("podman version 4.3.1".to_owned()));
        let expected = Engine { kind: EngineKind::Podman, program: "docker".into(), version: "4.3.1".into() };
        assert_eq!(engine, Ok(expected));
    }

    #[test]
    fn docker_counts_only_with_its_daemon() {
        let ask = |daemon: Result<String, String>| {
            move |arguments: &[&str]| match arguments {
                ["--version"] => Ok("Docker version 28.2.2, build e6534b4".to_owned()),
                _ => daemon.clone(),
            }
        };
        let engine = recognise("docker", ask(Ok("26.1.5".to_owned())));
        assert_eq!(engine.map(|engine| (engine.kind, engine.version)), Ok((EngineKind::Docker, "26.1.5".to_owned())));
        let refused = Err("cannot connect to the daemon".to_owned());
        assert_eq!(recognise("docker", ask(refused)), Err("cannot connect to the daemon".to_owned()));
        assert_eq!(run("/no/such/engine", &[]), Err("not installed".to_owned()));
    }

    #[test]
    fn only_the_end_of_a_long_complaint_is_kept() {
        assert_eq!(last_lines(b"1\n2\n\n3\n4\n"), Some("2; 3; 4".to_owned()));
        assert_eq!(last_lines(b" \n"), None);
    }
}
