//! `threatguard config`: what holds, where it comes from, and the schemas. Secrets are masked by their types.

use super::args::{ConfigArgs, ConfigVerb};
use super::{Outcome, output};
use crate::config::{pipeline, schema};
use crate::error::{Error, Result};

pub(super) fn run(args: &ConfigArgs) -> Result<Outcome> {
    match &args.verb {
        ConfigVerb::Show { pipeline, service } => {
            let mut shown = service.resolve()?.to_yaml();
            for file in pipeline {
                let pipeline = pipeline::load(file)?;
                let text = serde_norway::to_string(&pipeline).map_err(|failure| Error::bug("cannot show a pipeline").because(failure))?;
                shown.push_str(&format!("---\n# {}\n{text}", file.display()));
            }
            output::print(&shown)?;
        }
        ConfigVerb::Schema { of } => {
            let schema = if of == "pipeline" { schema::pipeline() } else { schema::service() };
            output::print(&format!("{schema:#}\n"))?;
        }
    }
    Ok(Outcome::Clean)
}
