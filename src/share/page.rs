//! An [`Overview`] as one self-contained HTML page: no script, no font, no picture from elsewhere.
//!
//! The template escapes every value; here everything becomes texts, percentages and class names.

use serde::Serialize;

use super::overview::{BaseView, Entry, LayerView, Overview, PlatformView};
use super::treemap::{self, Rectangle};
use crate::progress::human_bytes;

const NAME: &str = "inspect.html";
const TEMPLATE: &str = include_str!("../../templates/inspect.html.tera");
/// Sides of the map, in the proportion that the page draws it with.
const MAP: Rectangle = Rectangle { x: 0.0, y: 0.0, width: 16.0, height: 9.0 };
/// A box with less of the map's width or height than this, in per cent, has no room for its name.
const ROOM: (f64, f64) = (6.0, 5.0);
/// Packages in the table of the largest.
const LARGEST: usize = 15;

#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
    reference: &'a str,
    digest: String,
    lock: Option<String>,
    stack: &'a [Entry],
    targets: &'a [String],
    platforms: Vec<PlatformPage<'a>>,
    other_platforms: &'a [String],
    attached: Vec<AttachedPage<'a>>,
    commands: Vec<String>,
}

#[derive(Serialize)]
struct AttachedPage<'a> {
    what: &'a str,
    r#type: &'a str,
    digest: String,
}

#[derive(Serialize)]
struct PlatformPage<'a> {
    name: String,
    digest: String,
    size: String,
    created: Option<&'a str>,
    base: Option<&'a BaseView>,
    run: &'a [Entry],
    boxes: Vec<MapBox>,
    kinds: Vec<KindPage>,
    largest: Vec<PackagePage<'a>>,
    package_count: usize,
    is_estimate: bool,
    layers: Vec<LayerPage>,
}

/// A rectangle of the map, in per cent.
#[derive(Debug, Serialize)]
struct MapBox {
    kind: &'static str,
    left: String,
    top: String,
    width: String,
    height: String,
    /// Empty where there is no room.
    label: String,
    size: String,
    title: String,
}

#[derive(Serialize)]
struct KindPage {
    class: &'static str,
    words: &'static str,
    size: String,
}

#[derive(Serialize)]
struct PackagePage<'a> {
    name: &'a str,
    version: &'a str,
    size: String,
    percent: String,
}

#[derive(Serialize)]
struct LayerPage {
    size: String,
    words: &'static str,
    summary: String,
    packages: Vec<String>,
    digest: String,
}

/// The page.
pub fn render(overview: &Overview) -> Result<String, tera::Error> {
    let reference = &overview.reference;
    let commands = match overview.lock {
        Some(_) if reference.contains('@') => vec![
            format!("docker run --rm -it {reference}"),
            format!("imgforge pull {reference}"),
            format!("imgforge verify {reference}"),
        ],
        _ if reference.contains('@') => vec![format!("docker run --rm -it {reference}")],
        _ => Vec::new(),
    };
    let page = Page {
        name: &overview.name,
        reference,
        digest: overview.digest.to_string(),
        lock: overview.lock.map(|lock| lock.to_string()),
        stack: &overview.stack,
        targets: &overview.targets,
        platforms: overview.platforms.iter().map(platform_page).collect(),
        other_platforms: &overview.other_platforms,
        attached: overview
            .attached
            .iter()
            .map(|one| AttachedPage {
                what: one.what.unwrap_or("something that imgforge does not know"),
                r#type: &one.artifact_type,
                digest: one.digest.to_string(),
            })
            .collect(),
        commands,
    };
    let mut tera = tera::Tera::new();
    tera.add_raw_templates([(NAME, TEMPLATE)])?;
    tera.render(NAME, &tera::Context::from_serialize(&page)?)
}

/// Class and words of a layer's kind.
fn kind(layer: &LayerView) -> (&'static str, &'static str) {
    match layer.kind.as_str() {
        "base" => ("base", "base system"),
        "os" => ("os", "system packages and user"),
        "python" => ("python", "Python environment"),
        "wheels" => ("wheels", "Python packages"),
        "files" => ("files", "project files"),
        _ => ("other", "made by another tool"),
    }
}

fn platform_page(platform: &PlatformView) -> PlatformPage<'_> {
    let packages = platform.packages();
    let largest: Vec<_> = packages.iter().filter_map(|package| Some((package, package.size?))).take(LARGEST).collect();
    let most = largest.first().map_or(1, |(_, size)| *size).max(1);
    let mut kinds: Vec<(&'static str, &'static str, u64)> = Vec::new();
    for layer in &platform.layers {
        let (class, words) = kind(layer);
        match kinds.iter_mut().find(|(known, _, _)| *known == class) {
            Some((_, _, size)) => *size += layer.size,
            None => kinds.push((class, words, layer.size)),
        }
    }
    PlatformPage {
        name: platform.platform.to_string(),
        digest: platform.digest.to_string(),
        size: human_bytes(platform.size),
        created: platform.created.as_deref(),
        base: platform.base.as_ref(),
        run: &platform.run,
        boxes: boxes(platform),
        kinds: kinds
            .into_iter()
            .map(|(class, words, size)| KindPage { class, words, size: human_bytes(size) })
            .collect(),
        largest: largest
            .iter()
            .map(|(package, size)| PackagePage {
                name: &package.name,
                version: &package.version,
                size: human_bytes(*size),
                percent: percent(*size as f64 / most as f64 * 100.0),
            })
            .collect(),
        package_count: packages.len(),
        is_estimate: platform.layers.iter().any(|layer| layer.packages.len() > 1),
        layers: platform.layers.iter().map(layer_page).collect(),
    }
}

fn layer_page(layer: &LayerView) -> LayerPage {
    let shown = |package: &super::overview::PackageView| match package.size {
        Some(size) => format!("{} {}, {}", package.name, package.version, human_bytes(size)),
        None => format!("{} {}", package.name, package.version),
    };
    let packages: Vec<String> = match layer.packages.len() {
        0 | 1 => Vec::new(),
        _ => layer.packages.iter().map(shown).collect(),
    };
    LayerPage {
        size: human_bytes(layer.size),
        words: kind(layer).1,
        summary: summary(layer),
        packages,
        digest: layer.digest.to_string(),
    }
}

/// `numpy 2.1.0`, `12 packages: numpy, scipy, …`, or what the image says.
pub fn summary(layer: &LayerView) -> String {
    const NAMED: usize = 4;
    match layer.packages.as_slice() {
        [] => layer.contents.clone(),
        [one] => format!("{} {}", one.name, one.version),
        many => {
            let names: Vec<&str> = many.iter().take(NAMED).map(|package| package.name.as_str()).collect();
            let more = if many.len() > NAMED { ", …" } else { "" };
            format!("{} packages: {}{more}", many.len(), names.join(", "))
        }
    }
}

/// The map: layers, and in each its packages.
fn boxes(platform: &PlatformView) -> Vec<MapBox> {
    let mut layers: Vec<&LayerView> = platform.layers.iter().filter(|layer| layer.size > 0).collect();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.size));
    let sizes: Vec<f64> = layers.iter().map(|layer| layer.size as f64).collect();
    let mut boxes = Vec::new();
    for (layer, place) in layers.into_iter().zip(treemap::layout(&sizes, MAP)) {
        let class = kind(layer).0;
        let parts: Vec<(String, u64)> = layer
            .packages
            .iter()
            .filter_map(|package| Some((format!("{} {}", package.name, package.version), package.size?)))
            .filter(|(_, size)| *size > 0)
            .collect();
        if parts.is_empty() {
            boxes.push(MapBox::new(class, &summary(layer), layer.size, place));
            continue;
        }
        let sizes: Vec<f64> = parts.iter().map(|(_, size)| *size as f64).collect();
        let places = treemap::layout(&sizes, place);
        boxes.extend(parts.iter().zip(places).map(|((name, size), place)| MapBox::new(class, name, *size, place)));
    }
    boxes
}

impl MapBox {
    fn new(kind: &'static str, name: &str, size: u64, place: Rectangle) -> Self {
        let across = |number: f64| number / MAP.width * 100.0;
        let down = |number: f64| number / MAP.height * 100.0;
        let (width, height) = (across(place.width), down(place.height));
        let size = human_bytes(size);
        Self {
            kind,
            left: percent(across(place.x)),
            top: percent(down(place.y)),
            width: percent(width),
            height: percent(height),
            label: if width >= ROOM.0 && height >= ROOM.1 { name.to_owned() } else { String::new() },
            title: format!("{name}, {size}"),
            size,
        }
    }
}

fn percent(number: f64) -> String {
    format!("{number:.3}")
}

#[cfg(test)]
mod tests {
    use super::super::overview::{AttachedView, PackageView};
    use super::*;
    use crate::oci::{Digest, Platform};

    const HOSTILE: &str = "</b><script>alert(1)</script>\"' onmouseover=x";

    fn overview(text: &str) -> Overview {
        let entry = || Entry { name: text.to_owned(), value: text.to_owned() };
        let package = |size| PackageView { name: text.to_owned(), version: text.to_owned(), size };
        let layer = |kind: &str, size, packages| LayerView {
            digest: Digest::of(b"layer"),
            size,
            kind: kind.to_owned(),
            contents: text.to_owned(),
            packages,
        };
        Overview {
            reference: format!("registry.test/{text}@x"),
            name: text.to_owned(),
            digest: Digest::of(b"image"),
            lock: Some(Digest::of(b"lock")),
            stack: vec![entry()],
            targets: vec![text.to_owned()],
            platforms: vec![PlatformView {
                platform: Platform::AMD64,
                digest: Digest::of(b"image"),
                size: 1_000_000,
                created: Some(text.to_owned()),
                base: Some(BaseView { name: text.to_owned(), digest: Some(text.to_owned()) }),
                run: vec![entry()],
                layers: vec![
                    layer(text, 300_000, Vec::new()),
                    layer("wheels", 700_000, vec![package(Some(600_000)), package(Some(100_000))]),
                    layer("files", 0, vec![package(None)]),
                ],
            }],
            other_platforms: vec![text.to_owned()],
            attached: vec![AttachedView {
                digest: Digest::of(b"x"),
                subject: Digest::of(b"image"),
                artifact_type: text.to_owned(),
                what: None,
            }],
        }
    }

    #[test]
    fn whatever_an_image_says_stays_text() {
        let page = render(&overview(HOSTILE)).expect("a page");
        assert!(!page.contains("<script") && !page.contains("\"' onmouseover"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
        // As many tags as with harmless words.
        let tags = |page: &str| page.matches('<').count();
        assert_eq!(tags(&page), tags(&render(&overview("numpy")).expect("a page")));
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = render(&overview("numpy")).expect("a page");
        for word in ["http:", "https:", "<script", "<link", "<img", "url(", "@import", "src="] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn boxes_fill_the_map_and_large_ones_have_names() {
        let boxes = boxes(&overview("numpy").platforms[0]);
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let area: f64 = boxes.iter().map(|one| number(&one.width) * number(&one.height)).sum();
        assert!((area - 10_000.0).abs() < 1.0, "{area}");
        let titles: Vec<&str> = boxes.iter().map(|one| one.title.as_str()).collect();
        assert_eq!(titles, ["numpy numpy, 600.0 kB", "numpy numpy, 100.0 kB", "numpy, 300.0 kB"]);
        assert!(boxes.iter().all(|one| !one.label.is_empty()));
    }
}
