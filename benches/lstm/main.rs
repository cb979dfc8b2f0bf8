//! The LSTM: what a step costs on each kernel, and what it tells of system-call traces it never learned from.
//!
//!     cargo bench --no-default-features --bench lstm -- --json lstm.json
//!
//! Without the data folder (`THREATGUARD_DATA`, default `../shared/data`) the traces are skipped.
#![allow(clippy::print_stdout, clippy::print_stderr)] // Its output is what a bench is for.

#[path = "../support/mod.rs"]
mod support;
mod traces;
mod zip;

use std::process::ExitCode;

use serde_json::{Value, json};
use support::{Arguments, Spread, timed};
use threatguard::core::detect::lstm::kernel::HIDDEN;
use threatguard::core::detect::lstm::{Layers, Network, RowWeights, Shape, State};
use threatguard::models::random::Random;
use threatguard::native::Kernel;

/// What a step of 16 features and 32 cells may cost on one core, ns.
const STEP_NANOS_MAX: f64 = 160.0;
const STEPS: usize = 65_536;
const ROUNDS: usize = 25;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("lstm: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::read(&[("json", ""), ("seeds", "3"), ("epochs", "30"), ("threads", "1"), ("traces", "yes")])?;
    println!("{}", support::machine());
    let steps = steps()?;
    let traces = if arguments.text("traces") == "yes" {
        let number = |name| arguments.number(name);
        traces::report(number("seeds")?, number("epochs")? as usize, number("threads")? as usize)?
    } else {
        Value::Null
    };
    arguments.write_json(&json!({ "machine": support::machine(), "steps": steps, "traces": traces }))
}

fn network(code: usize) -> Result<Network, String> {
    let shape = Shape { inputs: 16, hidden: HIDDEN, code };
    let mut random = Random::new(1);
    let parameters = (0..shape.parameters()).map(|_| (random.unit() as f32 - 0.5) * 0.6).collect();
    let layers = Layers { shape, parameters };
    Network::new(RowWeights { layers, center: vec![0.5; 16], inverse_spread: vec![2.0; 16], inverse_error: vec![1.0; 16] })
        .map_err(|error| error.to_string())
}

/// Every kernel takes its turn in every round, so that all see the same neighbours.
fn steps() -> Result<Value, String> {
    let mut random = Random::new(2);
    let rows: Vec<[f32; 16]> = (0..4_096).map(|_| std::array::from_fn(|_| random.unit() as f32)).collect();
    let mut lines = vec![];
    for code in [0, 8] {
        for entities in [64, 1_000_000] {
            for batch in [1, 64] {
                let mut nanos = vec![vec![]; Kernel::available().len()];
                let mut digests = vec![0_u64; nanos.len()];
                let mut states = vec![vec![State::default(); entities]; nanos.len()];
                for _ in 0..ROUNDS {
                    for (at, kernel) in Kernel::available().iter().enumerate() {
                        let network = network(code)?.on(*kernel);
                        let (digest, time) = timed(|| go(&network, &mut states[at], &rows, batch));
                        digests[at] = digests[at].wrapping_mul(31).wrapping_add(digest);
                        nanos[at].push(time.as_nanos() as f64 / STEPS as f64);
                    }
                }
                if digests.iter().any(|digest| *digest != digests[0]) {
                    return Err("kernels differ in their bits".into());
                }
                for (kernel, nanos) in Kernel::available().iter().zip(nanos) {
                    let Spread { median, best } = Spread::of(nanos);
                    let bar = if best <= STEP_NANOS_MAX { "" } else { "  above the bar" };
                    print!("  {code} units between, {entities:>9} entities, batches of {batch:>2}, {kernel:?}: ");
                    println!("best {best:6.1} ns, median {median:6.1} ns{bar}");
                    let case = json!({ "code": code, "entities": entities, "batch": batch, "kernel": format!("{kernel:?}") });
                    lines.push(json!({ "case": case, "bestNanos": best, "medianNanos": median }));
                }
            }
        }
    }
    Ok(json!({ "nanosMax": STEP_NANOS_MAX, "cases": lines }))
}

/// [`STEPS`] steps over the entities in turn; a digest of all errors.
fn go(network: &Network, states: &mut [State], rows: &[[f32; 16]], batch: usize) -> u64 {
    let mut errors = vec![0.0; batch];
    let mut digest = 0_u64;
    for step in 0..STEPS / batch {
        // Far apart, as entities of a stream are.
        let at = (step * batch * 7) % (states.len() - batch + 1);
        let mut chosen: Vec<&mut State> = states[at..at + batch].iter_mut().collect();
        let views: Vec<&[f32]> = (0..batch).map(|i| rows[(step * batch + i) % rows.len()].as_slice()).collect();
        network.steps(&mut chosen, &views, &mut errors);
        digest = errors.iter().fold(digest, |digest, error| digest.wrapping_mul(31).wrapping_add(u64::from(error.to_bits())));
    }
    digest
}
