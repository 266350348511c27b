//! `imgforge push`: the image of the lock, to the registry. Layers that are in the layout are not made again.

use crate::cli::{Format, PushArgs};
use crate::diagnostic::Failure;
use crate::lock::Lock;
use crate::spec::Spec;

use super::attestations::Attest;
use super::build::{PushTo, assemble_all, chosen, publish_all, repository};
use super::outside::Outside;
use super::{Context, attach, lock, output, print, print_json, render, summary};

pub(super) fn run(context: &Context, arguments: &PushArgs) -> Result<u8, Failure> {
    let spec = Spec::load(&arguments.spec)?;
    let repository = repository(arguments.repository.as_deref(), &spec)?;
    let wanted = attach::Wanted { recipe: !arguments.no_recipe };
    wanted.check(&spec)?;
    let attest = Attest::new(&arguments.attest)?;
    let path = Lock::path_for(&arguments.spec);
    let locked = lock::current(&spec, Lock::read(&path)?, &path)?;
    let outside = Outside::new(context, &spec)?;
    let folder = output::output_folder(arguments.output.as_deref(), &locked.name);
    output::check_layouts(&folder)?;
    let recipe = wanted.recipe(&spec, &locked, render::rendered(&locked, &spec)?)?;
    let to = PushTo { repository, recipe, reuse: !arguments.no_reuse, keep: false };
    let platforms = chosen(&locked, &[])?;
    let mut built = assemble_all(context, &outside, &spec, &locked, &platforms, &folder, Some(&to))?;
    let published = publish_all(context, &outside, &spec, &mut built, Some(&to), &attest)?;
    match arguments.format {
        Format::Json => print_json(&summary::to_json(&built, &published, &folder)),
        Format::Text => published.first().iter().for_each(|published| print(&published.reference.whole())),
    }
    Ok(0)
}
