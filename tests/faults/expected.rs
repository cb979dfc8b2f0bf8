//! The one place that says what the binary under test promises, and how long the tests are.

use std::sync::OnceLock;

use crate::process::run;

/// Whether `run` is exactly-once on Kafka. Until it is, an output may come twice, if it is the same to the byte, and what
/// needs the transaction or the recovery behind it is left out, said plainly.
pub fn exactly_once() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| run(&["config", "show"]).out.contains("exactly_once"))
}

/// Says that a test is left out where the binary is at-least-once only.
pub fn needs_exactly_once(test: &str) -> bool {
    if !exactly_once() {
        println!("{test}: skipped, this binary delivers at least once");
    }
    exactly_once()
}

/// `tests/faults/long` asks for it.
pub fn is_long() -> bool {
    std::env::var("THREATGUARD_FAULTS").is_ok_and(|length| length == "long")
}

/// One of two sizes.
pub fn size<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}
