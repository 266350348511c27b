//! The embedded templates and the filters they use. A template that names a variable or filter that is not there fails
//! when it is rendered, and every template is rendered in the tests.

use std::borrow::Cow;

use serde::Serialize;
use tera::{Context, Kwargs, State, Tera};

use super::quote;

const TEMPLATES: [(&str, &str); 8] = [
    ("Dockerfile", include_str!("../../templates/Dockerfile.tera")),
    ("requirements.txt", include_str!("../../templates/requirements.txt.tera")),
    ("compose.yaml", include_str!("../../templates/compose.yaml.tera")),
    ("compose.cpu.yaml", include_str!("../../templates/compose.cpu.yaml.tera")),
    ("env.example", include_str!("../../templates/env.example.tera")),
    ("mlflow-database.sh", include_str!("../../templates/mlflow-database.sh.tera")),
    ("stack-start.sh", include_str!("../../templates/stack-start.sh.tera")),
    ("seed.sql", include_str!("../../templates/seed.sql.tera")),
];

/// The templates, compiled.
pub(super) struct Templates(Tera);

impl Templates {
    /// Compiles all templates.
    pub(super) fn load() -> Result<Self, tera::Error> {
        let mut tera = Tera::new();
        for (name, filter) in [
            ("shell_quote", quote::shell_word as fn(&str) -> String),
            ("docker_quote", quote::docker_word),
            ("run_form", quote::run_form),
            ("compose", quote::compose_string),
            ("sql_identifier", quote::sql_identifier),
            ("comment", quote::comment),
        ] {
            tera.register_filter(name, move |text: Cow<'_, str>, _: Kwargs, _: &State| filter(&text));
        }
        tera.register_filter("exec_form", |words: Vec<String>, _: Kwargs, _: &State| quote::exec_form(&words));
        tera.register_filter("flow", |words: Vec<String>, _: Kwargs, _: &State| {
            let words: Vec<String> = words.iter().map(|word| quote::compose_string(word)).collect();
            format!("[{}]", words.join(", "))
        });
        tera.add_raw_templates(TEMPLATES)?;
        Ok(Self(tera))
    }

    /// The text of one template; it ends in exactly one newline.
    pub(super) fn text(&self, name: &str, values: &impl Serialize) -> Result<String, tera::Error> {
        let text = self.0.render(name, &Context::from_serialize(values)?)?;
        Ok(format!("{}\n", text.trim_end()))
    }
}
