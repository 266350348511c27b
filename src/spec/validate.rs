//! From what was typed to what was meant: applies the [`rules`] with the place of each value, fills in defaults and looks
//! at the files the spec names. The first error ends it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use pep440_rs::VersionSpecifiers;

use super::direct;
use super::document::{self, Document, Entries, Given, TextOr, Typed};
use super::error::{Error, Problem};
use super::requirements::Collected;
use super::source::Source;
use super::{
    ArtifactStore, BaseChoice, ExtraIndex, FileEntry, Framework, ImageSection, Located, Mlflow, MlflowBackend,
    Postgres, Redis, Services, Spec, Target, meaning, rules,
};
use crate::diagnostic::Origin;
use crate::oci::Platform;
use crate::oci::tag::DIGEST_VARIABLE;

type Result<T> = std::result::Result<T, Error>;

/// Builds the spec; paths in it start from `folder`.
pub(super) fn build(source: &Source, folder: &Path, document: Document) -> Result<Spec> {
    let builder = Builder { source, folder };
    let name = builder.required(&document.name, 0..0, "name", "name: my-image")?;
    let name = builder.text(name, |text| rules::name("a name", text))?;
    let packages = builder.packages(&document.packages)?;
    let mut spec = Spec {
        path: source.path.clone(),
        folder: folder.to_owned(),
        name,
        targets: builder.targets(&document.targets)?,
        platforms: builder.platforms(&document.platforms)?,
        python: builder.optional(&document.python, rules::python)?,
        frameworks: builder.frameworks(document.frameworks)?,
        requirements_files: packages.files(),
        packages: packages.requirements,
        constraints: packages.constraints,
        file_pins: packages.file_pins,
        indexes: builder.indexes(&document.indexes)?,
        system: builder.list(&document.system, rules::system_package)?,
        cuda: builder.optional(&document.cuda, dotted("a CUDA version"))?,
        cudnn: builder.optional(&document.cudnn, dotted("a cuDNN version"))?,
        os: builder.optional(&document.os, rules::operating_system)?,
        base: builder.optional(&document.base, rules::base)?.unwrap_or_else(|| Located::default_of(BaseChoice::Auto)),
        image: ImageSection::default(),
        files: builder.files(&document.files)?,
        env: builder.env(document.env)?,
        workdir: builder.optional(&document.workdir, directory)?.map(|workdir| workdir.value),
        user: builder.optional(&document.user, rules::user)?.map_or_else(|| "app".to_owned(), |user| user.value),
        entrypoint: builder.arguments(&document.entrypoint)?,
        command: match (&document.entrypoint.0, &document.command.0) {
            (None, None) => vec!["python".to_owned()],
            _ => builder.arguments(&document.command)?,
        },
        run: builder.commands(&document.run)?,
        compile: builder.optional(&document.compile, rules::truth)?.is_some_and(|compile| compile.value),
        services: builder.services(&document.services)?,
        digest: crate::oci::Digest::of(b""),
    };
    spec.image = builder.image(&document.image, &spec.frameworks)?;
    spec.digest = meaning::digest(&spec);
    Ok(spec)
}

struct Builder<'a> {
    source: &'a Source,
    folder: &'a Path,
}

fn platform(text: &str) -> std::result::Result<Platform, Problem> {
    Platform::from_str(text).map_err(|_| Problem::UnknownWord {
        kind: "a platform",
        word: text.to_owned(),
        allowed: &["linux/amd64", "linux/arm64"],
        help: Vec::new(),
    })
}

fn dotted<T: FromStr<Err = crate::version::ParseError>>(
    kind: &'static str,
) -> impl Fn(&str) -> std::result::Result<T, Problem> {
    move |text| {
        T::from_str(text).map_err(|error| {
            let reason = format!("expected numbers separated by dots, like `{}`", error.example);
            rules::malformed(kind, text, reason, &[])
        })
    }
}

/// A folder in the image: a slash at its end says nothing.
fn directory(text: &str) -> std::result::Result<String, Problem> {
    let path = rules::image_path(text)?;
    Ok(path.strip_suffix('/').filter(|path| !path.is_empty()).map_or(path.clone(), str::to_owned))
}

impl Builder<'_> {
    fn origin<T>(&self, typed: &Typed<T>) -> Origin {
        self.source.origin(typed.span.clone())
    }

    fn fail<T>(&self, span: Range<usize>, problem: Problem) -> Result<T> {
        Err(Error::at(self.source.origin(span), problem))
    }

    fn required<'t>(
        &self,
        given: &'t Given<String>,
        owner: Range<usize>,
        key: &'static str,
        example: &'static str,
    ) -> Result<&'t Typed<String>> {
        match &given.0 {
            Some(typed) => Ok(typed),
            None => self.fail(owner, Problem::MissingKey { key, example }),
        }
    }

    fn text<T>(
        &self,
        typed: &Typed<String>,
        rule: impl Fn(&str) -> std::result::Result<T, Problem>,
    ) -> Result<Located<T>> {
        match rule(&typed.value) {
            Ok(value) => Ok(Located { value, origin: Some(self.origin(typed)) }),
            Err(problem) => self.fail(typed.span.clone(), problem),
        }
    }

    fn optional<T>(
        &self,
        given: &Given<String>,
        rule: impl Fn(&str) -> std::result::Result<T, Problem>,
    ) -> Result<Option<Located<T>>> {
        given.0.as_ref().map(|typed| self.text(typed, rule)).transpose()
    }

    /// A list whose values must differ.
    fn list<T: PartialEq>(
        &self,
        given: &Given<Vec<Typed<String>>>,
        rule: impl Fn(&str) -> std::result::Result<T, Problem>,
    ) -> Result<Vec<Located<T>>> {
        let mut values: Vec<Located<T>> = Vec::new();
        for typed in given.0.iter().flat_map(|list| &list.value) {
            let value = self.text(typed, &rule)?;
            self.push_distinct(&mut values, value, &typed.value)?;
        }
        Ok(values)
    }

    fn push_distinct<T: PartialEq>(&self, values: &mut Vec<Located<T>>, value: Located<T>, shown: &str) -> Result<()> {
        if let Some(first) = values.iter().find(|known| known.value == value.value) {
            let first_line = first.origin.as_ref().map_or(1, Origin::line);
            let span = value.origin.map_or(0..0, |origin| origin.span);
            return self.fail(span, Problem::Repeated { text: shown.to_owned(), first_line });
        }
        values.push(value);
        Ok(())
    }

    /// The text of a value of two forms: numbers as they stand in the file, `2.10` and not 2.1.
    fn scalar<M>(&self, typed: &Typed<TextOr<M>>) -> Option<Typed<String>> {
        let value = match &typed.value {
            TextOr::Text(text) => text.clone(),
            TextOr::Unquoted => self.source.slice(typed.definition.clone()).trim().to_owned(),
            TextOr::Mapping(_) => return None,
        };
        Some(Typed { value, span: typed.span.clone(), definition: typed.definition.clone() })
    }

    fn refuse_empty<T>(&self, given: &Given<Vec<Typed<T>>>, key: &'static str) -> Result<()> {
        match &given.0 {
            Some(list) if list.value.is_empty() => self.fail(list.span.clone(), Problem::EmptyList { key }),
            _ => Ok(()),
        }
    }

    fn platforms(&self, given: &Given<Vec<Typed<String>>>) -> Result<Vec<Located<Platform>>> {
        self.refuse_empty(given, "platforms")?;
        self.list(given, platform)
    }

    fn targets(&self, given: &Given<Vec<Typed<TextOr<document::Card>>>>) -> Result<Vec<Located<Target>>> {
        self.refuse_empty(given, "targets")?;
        let Some(list) = &given.0 else { return Ok(vec![Located::default_of(Target::Cpu)]) };
        let mut targets = Vec::new();
        for typed in &list.value {
            let (target, shown) = match (&typed.value, self.scalar(typed)) {
                (TextOr::Mapping(card), _) => self.card(typed, card)?,
                (_, Some(text)) => (self.text(&text, rules::target)?, text.value),
                (_, None) => continue,
            };
            self.push_distinct(&mut targets, target, &shown)?;
        }
        Ok(targets)
    }

    fn card(&self, typed: &Typed<TextOr<document::Card>>, card: &document::Card) -> Result<(Located<Target>, String)> {
        let gpu = self.required(&card.gpu, typed.span.clone(), "gpu", "{gpu: RTX 4090}")?;
        let gpu = self.text(gpu, |text| {
            let valid = text.chars().any(char::is_alphanumeric) && text.len() <= 100;
            match valid && !text.chars().any(char::is_control) {
                true => Ok(text.trim().to_owned()),
                false => Err(rules::malformed("the name of a card", text, "expected a name such as `RTX 4090`", &[])),
            }
        })?;
        let driver = self.optional(&card.driver, dotted("a driver version"))?.map(|driver| driver.value);
        let platform = self.optional(&card.platform, platform)?.map(|platform| platform.value);
        let shown = gpu.value.clone();
        Ok((Located { value: Target::Card { gpu: gpu.value, driver, platform }, origin: gpu.origin }, shown))
    }

    fn frameworks(&self, given: Given<Entries<TextOr<document::Framework>>>) -> Result<Vec<Framework>> {
        let mut frameworks = Vec::new();
        for (key, typed) in given.0.into_iter().flat_map(|entries| entries.value.0) {
            let family = self.text(&key, |text| rules::package_name("a framework", text))?;
            let (version, build, with) = match (&typed.value, self.scalar(&typed)) {
                (TextOr::Mapping(long), _) => (
                    self.optional(&long.version, rules::framework_version)?,
                    self.optional(&long.build, rules::build)?,
                    self.list(&long.with, |text| rules::package_name("a package name", text))?,
                ),
                (_, Some(text)) => (Some(self.text(&text, rules::framework_version)?), None, Vec::new()),
                (_, None) => continue,
            };
            let (version, version_origin) =
                version.map_or((VersionSpecifiers::empty(), None), |located| (located.value, located.origin));
            frameworks.push(Framework { family, version, version_origin, build, with });
        }
        frameworks.sort_by(|left, right| left.family.value.cmp(&right.family.value));
        for pair in frameworks.windows(2) {
            if let [first, second] = pair
                && first.family.value == second.family.value
            {
                let span = second.family.origin.as_ref().map_or(0..0, |origin| origin.span.clone());
                return self.fail(span, Problem::DuplicateKey { key: second.family.value.clone() });
            }
        }
        Ok(frameworks)
    }

    fn packages(&self, given: &Given<Vec<Typed<TextOr<document::RequirementsFile>>>>) -> Result<Collected> {
        let mut collected = Collected::new(self.folder);
        for typed in given.0.iter().flat_map(|list| &list.value) {
            if let TextOr::Mapping(named) = &typed.value {
                let file = self.required(&named.file, typed.span.clone(), "file", "{file: requirements.txt}")?;
                collected.read(&file.value, &self.origin(file))?;
            } else if let Some(text) = self.scalar(typed) {
                let (value, pin) = direct::parse(&text.value, self.folder)
                    .map_err(|(problem, part)| Error::at(self.source.origin_within(&text, part), problem))?;
                let origin = Some(self.origin(typed));
                collected.file_pins.extend(pin.map(|value| Located { value, origin: origin.clone() }));
                collected.requirements.push(Located { value, origin });
            }
        }
        Ok(collected)
    }

    fn indexes(&self, given: &Given<Vec<Typed<document::Index>>>) -> Result<Vec<ExtraIndex>> {
        let mut names = Vec::new();
        let mut indexes = Vec::new();
        for typed in given.0.iter().flat_map(|list| &list.value) {
            let index = &typed.value;
            let name = self.required(&index.name, typed.span.clone(), "name", "name: internal")?;
            let name = self.text(name, |text| match text {
                "default" => Err(rules::malformed("a name", text, "it stands for the machine's default index", &[])),
                "direct" => Err(rules::malformed("a name", text, "it stands for wheels that no index holds", &[])),
                _ => rules::name("a name", text),
            })?;
            self.push_distinct(&mut names, name.clone(), &name.value)?;
            let url = self.required(&index.url, typed.span.clone(), "url", "url: \"https://host/simple\"")?;
            let url = self.text(url, rules::index_url)?;
            let packages = self.list(&index.packages, rules::name_pattern)?;
            let packages = packages.into_iter().map(|pattern| pattern.value).collect();
            indexes.push(ExtraIndex { name, url, packages });
        }
        Ok(indexes)
    }

    fn image(&self, given: &Given<document::Image>, frameworks: &[Framework]) -> Result<ImageSection> {
        let latest = || "latest".parse().ok().into_iter().collect();
        let Some(Typed { value: image, .. }) = &given.0 else {
            return Ok(ImageSection { tags: latest(), ..ImageSection::default() });
        };
        let repository = self.optional(&image.repository, rules::repository)?;
        let mirror = self.optional(&image.mirror, rules::mirror)?;
        let version = self.optional(&image.version, rules::image_version)?.map(|version| version.value);
        let families: Vec<&str> = frameworks.iter().map(|framework| framework.family.value.as_str()).collect();
        let template = |text: &str| rules::tag_template(text, version.is_some(), &families);
        self.refuse_empty(&image.tags, "tags")?;
        let tags = match &image.tags.0 {
            None => latest(),
            Some(list) => {
                let tags = self.list(&image.tags, template)?;
                if tags[0].value.variables().any(|name| name == DIGEST_VARIABLE) {
                    return self.fail(list.value[0].span.clone(), rules::digest_in_first_tag());
                }
                tags.into_iter().map(|tag| tag.value).collect()
            }
        };
        let immutable_tags = self.list(&image.immutable_tags, template)?.into_iter().map(|tag| tag.value).collect();
        let compression = self.optional(&image.compression, rules::compression)?;
        let compression = compression.map(|compression| compression.value).unwrap_or_default();
        Ok(ImageSection { repository, mirror, version, tags, immutable_tags, compression })
    }

    fn files(&self, given: &Given<Vec<Typed<document::File>>>) -> Result<Vec<FileEntry>> {
        let mut destinations = Vec::new();
        let mut files = Vec::new();
        for typed in given.0.iter().flat_map(|list| &list.value) {
            let entry = &typed.value;
            let from = self.required(&entry.from, typed.span.clone(), "from", "{from: src, to: /workspace/src}")?;
            let to = self.required(&entry.to, typed.span.clone(), "to", "{from: src, to: /workspace/src}")?;
            let (path, is_file) = self.project_path(from)?;
            let last = path.value.file_name().map(|name| name.to_string_lossy().into_owned());
            let to_path = self.text(to, |text| {
                let path = rules::image_path(text)?;
                match (path.strip_suffix('/'), is_file, &last) {
                    (Some(folder), true, Some(name)) => Ok(format!("{folder}/{name}")),
                    (Some(folder), _, _) if !folder.is_empty() => Ok(folder.to_owned()),
                    (Some(_), _, _) => {
                        let help = [rules::IMAGE_PATH_EXAMPLE];
                        Err(rules::malformed("a path in the image", text, "a folder must go below `/`", &help))
                    }
                    (None, _, _) => Ok(path),
                }
            })?;
            self.push_distinct(&mut destinations, to_path.clone(), &to.value)?;
            files.push(FileEntry { from: path, to: to_path.value });
        }
        Ok(files)
    }

    /// A path that exists inside the spec's folder, normalised, and whether it is a file. Links are followed for the
    /// check, so that one cannot lead out.
    fn project_path(&self, typed: &Typed<String>) -> Result<(Located<PathBuf>, bool)> {
        let text = typed.value.as_str();
        let fail = |problem| self.fail(typed.span.clone(), problem);
        let outside = || Problem::OutsideFolder { path: text.to_owned() };
        let unreadable = |reason: String| Problem::Unreadable { path: text.to_owned(), reason };
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return fail(rules::malformed("a path", text, "expected a file or folder beside the spec", &[]));
        }
        let mut normal = PathBuf::new();
        for component in Path::new(text).components() {
            match component {
                Component::Normal(part) => normal.push(part),
                Component::CurDir => {}
                Component::ParentDir => {
                    if !normal.pop() {
                        return fail(outside());
                    }
                }
                Component::RootDir | Component::Prefix(_) => {
                    return fail(Problem::AbsolutePath { path: text.to_owned() });
                }
            }
        }
        if normal.as_os_str().is_empty() {
            normal.push(".");
        }
        let reason = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file or folder beside the spec".to_owned(),
            _ => error.to_string(),
        };
        let real = match self.folder.join(&normal).canonicalize() {
            Ok(real) => real,
            Err(error) => return fail(unreadable(reason(error))),
        };
        match self.folder.canonicalize() {
            Ok(root) if real.starts_with(&root) => {}
            Ok(_) => return fail(outside()),
            Err(error) => return fail(unreadable(reason(error))),
        }
        let is_file = real.is_file();
        if !is_file && !real.is_dir() {
            return fail(unreadable("it is neither a file nor a folder".to_owned()));
        }
        Ok((Located { value: normal, origin: Some(self.origin(typed)) }, is_file))
    }

    fn env(&self, given: Given<Entries<String>>) -> Result<BTreeMap<String, String>> {
        let mut variables = BTreeMap::new();
        for (key, value) in given.0.into_iter().flat_map(|entries| entries.value.0) {
            let name = self.text(&key, rules::variable)?.value;
            let value = self.text(&value, |text| rules::plain_text("the value of a variable", text))?.value;
            variables.insert(name, value);
        }
        Ok(variables)
    }

    fn arguments(&self, given: &Given<Vec<Typed<String>>>) -> Result<Vec<String>> {
        let list = given.0.iter().flat_map(|list| &list.value);
        list.map(|typed| Ok(self.text(typed, |text| rules::plain_text("an argument", text))?.value)).collect()
    }

    /// Shell commands may span lines.
    fn commands(&self, given: &Given<Vec<Typed<String>>>) -> Result<Vec<Located<String>>> {
        let list = given.0.iter().flat_map(|list| &list.value);
        list.map(|typed| {
            self.text(typed, |text| {
                let odd = text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'));
                match text.trim() {
                    "" => Err(rules::malformed("a shell command", text, "it is empty", &[])),
                    _ if odd => Err(rules::malformed("a shell command", text, "it has a control character", &[])),
                    command => Ok(command.to_owned()),
                }
            })
        })
        .collect()
    }

    fn services(&self, given: &Given<document::Services>) -> Result<Services> {
        let Some(Typed { value: services, .. }) = &given.0 else { return Ok(Services::default()) };
        let version = |given: &Given<String>, default: &str| {
            let version = self.optional(given, rules::service_version)?;
            Ok::<_, Error>(version.unwrap_or_else(|| Located::default_of(default.to_owned())))
        };
        let postgres = match &services.postgres.0 {
            None => None,
            Some(Typed { value, .. }) => {
                Some(Postgres { version: version(&value.version, "16")?, seed: self.seeds(&value.seed)? })
            }
        };
        let redis = match &services.redis.0 {
            None => None,
            Some(Typed { value, .. }) => Some(Redis { version: version(&value.version, "7")? }),
        };
        let mlflow = match &services.mlflow.0 {
            None => None,
            Some(Typed { value, .. }) => Some(self.mlflow(value, postgres.is_some())?),
        };
        Ok(Services { postgres, redis, mlflow })
    }

    fn seeds(&self, given: &Given<Vec<Typed<String>>>) -> Result<Vec<Located<PathBuf>>> {
        let mut seeds = Vec::new();
        for typed in given.0.iter().flat_map(|list| &list.value) {
            let (path, is_file) = self.project_path(typed)?;
            let known = path.value.extension().is_some_and(|ending| ending == "sql" || ending == "csv");
            if !is_file || !known {
                let problem = rules::malformed("a seed", &typed.value, "expected a `.sql` or `.csv` file", &[]);
                return self.fail(typed.span.clone(), problem);
            }
            self.push_distinct(&mut seeds, path, &typed.value)?;
        }
        Ok(seeds)
    }

    fn mlflow(&self, mlflow: &document::Mlflow, has_postgres: bool) -> Result<Mlflow> {
        let backend = self.optional(&mlflow.backend, |text| match text {
            "postgres" if !has_postgres => Err(Problem::NoPostgres),
            "postgres" => Ok(MlflowBackend::Postgres),
            "sqlite" => Ok(MlflowBackend::Sqlite),
            other => Err(Problem::UnknownWord {
                kind: "a backend of MLflow",
                word: other.to_owned(),
                allowed: &["postgres", "sqlite"],
                help: Vec::new(),
            }),
        })?;
        let default = if has_postgres { MlflowBackend::Postgres } else { MlflowBackend::Sqlite };
        let artifacts = self.optional(&mlflow.artifacts, rules::artifacts)?;
        Ok(Mlflow {
            backend: backend.map_or(default, |backend| backend.value),
            artifacts: artifacts.map_or(ArtifactStore::Volume, |artifacts| artifacts.value),
        })
    }
}
