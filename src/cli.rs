//! The command line's shape. Types only: what each command does is in `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Resolve, lock and assemble ML environments as OCI images, without a Docker daemon.
///
/// A short `spec.yaml` says what must run where; imgforge finds the versions that fit together (driver, CUDA, Python,
/// frameworks, packages), locks them with hashes, renders a Dockerfile and a Compose stack, assembles the image and
/// pushes it to a registry.
#[derive(Debug, Parser)]
#[command(name = "imgforge", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Settings of every command.
    #[command(flatten)]
    pub global: Global,
}

/// Settings of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: Color,
    /// Say nothing but errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say what was decided at each step.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// A folder with further catalog files, laid over the built-in ones; may be given several times.
    #[arg(long = "catalog", global = true, value_name = "DIR")]
    pub catalogs: Vec<PathBuf>,
    /// Use the cache only, never the network.
    #[arg(long, global = true)]
    pub offline: bool,
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON value on stdout.
    Json,
}

/// `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Assembled by imgforge itself; nothing is executed.
    Native,
    /// `docker build` of the rendered Dockerfile.
    Docker,
    /// `podman build` of the rendered Dockerfile.
    Podman,
    /// `buildah build` of the rendered Dockerfile.
    Buildah,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lock if needed, render, and assemble the image into `generated/NAME/`.
    Build(BuildArgs),
    /// Show the stack that the catalog alone resolves to; needs no network.
    Resolve(ResolveArgs),
    /// Resolve everything and write `imgforge.lock` beside the spec.
    Lock(LockArgs),
    /// Say why a version was chosen, what holds it back from being newer, and what would free it.
    Explain(ExplainArgs),
    /// Compare two images or two locks: versions, packages, layers, bytes.
    Diff(DiffArgs),
    /// Write Dockerfile, Compose stack and requirements from the lock.
    Render(RenderArgs),
    /// Push the image of the lock to the spec's repository.
    ///
    /// Layers that the repository lacks are sent from `generated/NAME/oci`, if `build` left them there, or made and sent at
    /// the same time, so that nothing of them stays here. The lock must answer the spec: `build --push` locks first if
    /// needed, and writes the rendered files.
    Push(PushArgs),
    /// Copy the images of others that the stack needs into a registry of your own, by digest.
    Mirror(MirrorArgs),
    /// Bring an environment back from a registry: spec, lock, rendered files, project files.
    Pull(PullArgs),
    /// Make an image again from its recipe, and compare the two; exit code 1 if they differ.
    Verify(VerifyArgs),
    /// Write the lock in other tools' formats, or a document about its image: bill of materials, provenance.
    Export(ExportArgs),
    /// Say who signed an image: exit code 1 if the key's owner has not.
    Signatures(SignaturesArgs),
    /// Keys to sign images with.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Show what is in an image: stack, layers by package, sizes, where it came from, what is attached.
    Inspect(InspectArgs),
    /// Start the stack with `docker compose`.
    Up(StackArgs),
    /// Stop the stack with `docker compose`.
    Down(StackArgs),
    /// What is known: cards, machines, CUDA, frameworks, Pythons, bases.
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Print the JSON schema of `spec.yaml`.
    Schema,
    /// Print a completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Where the cache is, and how to empty it.
    #[command(subcommand)]
    Cache(CacheCommand),
}

/// `imgforge build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The spec.
    pub spec: PathBuf,
    /// Push the image to the spec's repository.
    #[arg(long)]
    pub push: bool,
    /// Load the image into Docker or Podman.
    #[arg(long)]
    pub load: bool,
    /// Fail if the lock is missing or stale, instead of locking again.
    #[arg(long)]
    pub locked: bool,
    /// Build for these platforms only; they must be in the lock.
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,
    /// Who builds the image.
    #[arg(long, value_enum, default_value = "native")]
    pub engine: Engine,
    /// Folder to write into, instead of `generated/NAME`.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Push to this repository instead of the spec's.
    #[arg(long, value_name = "REPOSITORY")]
    pub repository: Option<String>,
    /// When pushing, make every layer here, also those that the image behind the tag has already.
    #[arg(long)]
    pub no_reuse: bool,
    /// When pushing, leave spec, lock and rendered files at home instead of attaching them to the image.
    #[arg(long)]
    pub no_recipe: bool,
    /// What is attached to the image.
    #[command(flatten)]
    pub attest: AttestArgs,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// The spec.
    pub spec: PathBuf,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge lock`.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// The spec.
    pub spec: PathBuf,
    /// Take the newest versions of everything.
    #[arg(long)]
    pub upgrade: bool,
    /// Take the newest version of this package; may be given several times.
    #[arg(long = "upgrade-package", value_name = "NAME")]
    pub upgrade_packages: Vec<String>,
    /// Only say whether the lock is current: exit code 1 if it is missing or stale.
    #[arg(long, conflicts_with_all = ["upgrade", "upgrade_packages"])]
    pub check: bool,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The spec.
    pub spec: PathBuf,
    /// A framework, `python`, `cuda`, `cudnn`, `driver`, `base` or any package of the environment; the whole stack if none
    /// is named.
    pub package: Option<String>,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// An image in a registry; a lock, a spec with a lock beside it, a folder with `imgforge.lock`; or a folder with an
    /// image in the OCI layout.
    pub a: String,
    /// What to compare it with.
    pub b: String,
    /// Exit with 1 if they differ.
    #[arg(long)]
    pub exit_code: bool,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The spec.
    pub spec: PathBuf,
    /// Folder to write into, instead of `generated/NAME`.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `imgforge push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The spec.
    pub spec: PathBuf,
    /// Push to this repository instead of the spec's.
    #[arg(long, value_name = "REPOSITORY")]
    pub repository: Option<String>,
    /// Make every layer that `build` did not leave here, also those that the image behind the tag has already.
    #[arg(long)]
    pub no_reuse: bool,
    /// Leave spec, lock and rendered files at home instead of attaching them to the image.
    #[arg(long)]
    pub no_recipe: bool,
    /// What is attached to the image.
    #[command(flatten)]
    pub attest: AttestArgs,
    /// Folder whose `oci` is looked into for layers, instead of `generated/NAME`.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge mirror`.
#[derive(Debug, Args)]
pub struct MirrorArgs {
    /// The spec.
    pub spec: PathBuf,
    /// Registry and prefix to copy into, instead of the spec's `image.mirror`.
    #[arg(long, value_name = "HOST/PREFIX")]
    pub to: Option<String>,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// The image, by tag or by digest.
    pub reference: String,
    /// Folder to write into, instead of one with the environment's name.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Overwrite files that differ.
    #[arg(long)]
    pub force: bool,
    /// Where several recipes are attached: this one.
    #[arg(long, value_name = "DIGEST")]
    pub recipe: Option<String>,
    /// Only if the owner of this public key (PEM, P-256) has signed it; exit code 1 if not.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The image, by tag or by digest.
    pub reference: String,
    /// Only these of its platforms.
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,
    /// Take the project's files from this checkout instead of from the image itself, which nothing else vouches for.
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Where several recipes are attached: this one.
    #[arg(long, value_name = "DIGEST")]
    pub recipe: Option<String>,
    /// Only if the owner of this public key (PEM, P-256) has signed it; exit code 1 if not.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// What is attached to an image that is pushed.
#[derive(Debug, Args)]
pub struct AttestArgs {
    /// When pushing, attach neither a bill of materials nor provenance.
    #[arg(long)]
    pub no_attest: bool,
    /// When pushing, sign the image with this private key (PEM, P-256); the password of an encrypted one is in
    /// `COSIGN_PASSWORD`.
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
}

/// `imgforge export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The spec.
    pub spec: PathBuf,
    /// The format.
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// For these platforms only; they must be in the lock.
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,
    /// File to write, instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `--format` of `imgforge export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// `pylock.toml` (PEP 751), with the addresses of this machine's index.
    Pylock,
    /// One requirements file with hashes.
    Requirements,
    /// Bill of materials, SPDX 2.3 in JSON.
    #[value(alias = "sbom")]
    Spdx,
    /// Bill of materials, CycloneDX 1.6 in JSON.
    Cyclonedx,
    /// SLSA provenance of the image that `build` left in `generated/NAME/oci`, as an in-toto statement.
    Provenance,
}

/// `imgforge signatures`.
#[derive(Debug, Args)]
pub struct SignaturesArgs {
    /// The image: `registry.example.com/ml/churn:latest`.
    pub reference: String,
    /// The public key (PEM, P-256).
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a pair of keys, as `cosign generate-key-pair` does: the private one encrypted, with the password in
    /// `COSIGN_PASSWORD` or one that is asked for.
    Generate {
        /// Path and name of the two files, without `.key` and `.pub`.
        #[arg(long, value_name = "PATH", default_value = "sign")]
        output: PathBuf,
        /// Text for people or JSON.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// `imgforge inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// An image in a registry, a folder in the OCI image layout, or a spec that was built.
    pub image: String,
    /// Text for people, JSON, or a page for a browser, which needs nothing else.
    #[arg(long, value_enum, default_value = "text")]
    pub format: InspectFormat,
}

/// `--format` of `inspect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InspectFormat {
    /// For people.
    Text,
    /// For programs: one JSON value on stdout.
    Json,
    /// One self-contained HTML page on stdout.
    Html,
}

/// `imgforge up` and `down`.
#[derive(Debug, Args)]
pub struct StackArgs {
    /// The spec.
    pub spec: PathBuf,
    /// Folder that `build` wrote into, instead of `generated/NAME`.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Further arguments for `docker compose up` or `down`.
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

/// `imgforge catalog`.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// List the entries of one kind.
    List {
        /// gpus, instances, cuda, frameworks, pythons, bases, images, services or rules.
        kind: String,
        /// Only instances of this cloud.
        #[arg(long, value_name = "CLOUD")]
        cloud: Option<String>,
        /// Only instances with this card.
        #[arg(long, value_name = "CARD")]
        gpu: Option<String>,
        /// Text for people or JSON.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Show one entry and what follows from it: `L4`, `aws/g4dn.xlarge`, `torch 2.5.1`, `driver 535.104.05`.
    ///
    /// Also `torch`, `torch 2.5.1 cu124`, `cuda 12.4`, `cudnn 9.1`, `python 3.11`, `base cuda 12.4.1`, `rockylinux 9`,
    /// `service postgres` and `rule sass`.
    Show {
        /// What to look up.
        #[arg(required = true)]
        words: Vec<String>,
        /// Text for people or JSON.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Read package indexes and registries, and print what the catalog lacks as a diff.
    ///
    /// Facts that disagree with the catalog are listed on stderr and never overwritten. Nothing is changed without
    /// `--write`. What is edited is the last folder of `--catalog`, else the `catalog` folder of the checkout in the
    /// current directory, else the user's own, `imgforge/catalog` beside the settings file.
    Update(CatalogUpdateArgs),
    /// Look for dangling names, missing sources and impossible ranges; exit code 1 if there are any.
    Check {
        /// Text for people or JSON.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// `imgforge catalog update`.
#[derive(Debug, Args)]
pub struct CatalogUpdateArgs {
    /// Framework families or packages, `cuda`, `images`; everything if none is named.
    pub names: Vec<String>,
    /// Write the new entries into the catalog's files.
    #[arg(long)]
    pub write: bool,
    /// Exit code 1 if something is new or disagrees.
    #[arg(long, conflicts_with = "write")]
    pub check: bool,
    /// The day to cite in new entries, instead of today.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub checked: Option<String>,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `imgforge cache`.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Print the cache's folder.
    Dir,
    /// Remove everything in the cache.
    Prune,
}
