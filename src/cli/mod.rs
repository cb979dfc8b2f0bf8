//! The console: what is typed, what is shown, and the exit code. The only place that prints.
//!
//! | code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | done, with findings: a problem in a file, a failed test, an unknown id |
//! | 2 | the command line or the configuration is wrong |
//! | 3 | something failed while running |

pub mod args;
pub mod args_backtest;
pub mod args_explain;
pub mod args_import;
pub mod args_importance;
pub mod args_model;
pub mod args_retrain;
pub mod args_state;
pub mod args_table;
pub mod completions;
pub mod live;
pub mod output;
pub mod progress;

mod backtest;
mod company;
mod demo;
mod evaluate;
mod evaluate_stream;
mod explain;
mod explain_view;
mod feedback;
mod importance;
mod imported;
mod input;
mod jobs;
mod live_view;
mod model;
mod model_view;
mod models;
mod replay;
mod retrain;
mod retrain_table;
mod run;
mod score;
mod show;
mod simulate;
mod state;
mod state_view;
mod stop;
pub mod test;
#[cfg(test)]
mod tests;
mod train;
mod train_table;
mod validate;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, Kind, Result};

/// Finds threats in streams of security events.
#[derive(Debug, Parser)]
#[command(name = "threatguard", version, about, max_term_width = 110, arg_required_else_help = true, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

const EXAMPLES: &str = "\
Start here:
  threatguard demo                                  watch threats being found in simulated traffic
  threatguard simulate --scenario small | head      what events look like
  threatguard validate pipelines/network.yaml       every problem of a pipeline file at once
  threatguard config show                           the configuration that holds, and where it comes from

Exit codes: 0 done, 1 findings, 2 usage or configuration, 3 runtime.
'threatguard VERB --help' shows examples of a verb.";

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Demo(Box<args::DemoArgs>),
    Run(Box<args::RunArgs>),
    Train(args::TrainArgs),
    Evaluate(args_table::EvaluateArgs),
    Score(args_table::ScoreArgs),
    Backtest(Box<args_backtest::BacktestArgs>),
    Simulate(args::SimulateArgs),
    Replay(Box<args::ReplayArgs>),
    Validate(args::ValidateArgs),
    Test(args::TestArgs),
    Explain(args_explain::ExplainArgs),
    Verdict(args_retrain::VerdictArgs),
    Model(args_model::ModelArgs),
    State(Box<args_state::StateArgs>),
    Verify(args_state::VerifyArgs),
    Config(args::ConfigArgs),
    Completions(completions::CompletionsArgs),
}

/// What came of a verb that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Clean,
    /// Exit code 1.
    Findings,
}

/// The program: reads the command line and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // A closed terminal cannot be told anything.
            usage.print().ok();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli.verb) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(error) => {
            output::error(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn dispatch(verb: Verb) -> Result<Outcome> {
    match verb {
        Verb::Demo(args) => demo::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Train(args) => train::run(&args),
        Verb::Evaluate(args) => evaluate::run(&args),
        Verb::Score(args) => score::run(&args),
        Verb::Backtest(args) => backtest::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Validate(args) => validate::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Verdict(args) => feedback::run(&args),
        Verb::Model(args) => model::run(&args),
        Verb::State(args) => state::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Config(args) => show::run(&args),
        Verb::Completions(args) => completions::run(&args),
    }
}

fn exit_code(error: &Error) -> u8 {
    match error.kind {
        Kind::Config => 2,
        Kind::Transient | Kind::Permanent | Kind::Fenced | Kind::Bug => 3,
    }
}
