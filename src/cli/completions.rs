//! `threatguard completions`: from the same definitions as the help.

use clap::CommandFactory;

use super::args::CompletionsArgs;
use super::{Cli, Outcome, output};
use crate::error::Result;

pub(super) fn run(args: &CompletionsArgs) -> Result<Outcome> {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "threatguard", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Clean)
}
