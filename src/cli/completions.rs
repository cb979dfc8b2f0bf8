//! `threatguard completions`: from the same definitions as the help.

use clap::{Args, CommandFactory};

use super::{Cli, Outcome, output};
use crate::error::Result;

/// Write completions for a shell
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard completions bash > /etc/bash_completion.d/threatguard
  threatguard completions zsh > ~/.zfunc/_threatguard")]
pub struct CompletionsArgs {
    pub shell: clap_complete::Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<Outcome> {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "threatguard", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Clean)
}
