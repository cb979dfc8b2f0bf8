//! How long the tests are: short in every run of the tests, long where `tests/faults/long` asks for it.

pub fn is_long() -> bool {
    std::env::var("THREATGUARD_FAULTS").is_ok_and(|length| length == "long")
}

/// So many kills instead of those of the long run: a piece of it, whose events are as many fewer.
pub fn kills(whole: usize) -> usize {
    let asked = std::env::var("THREATGUARD_FAULTS_KILLS").ok().map(|kills| kills.parse().expect("THREATGUARD_FAULTS_KILLS is a number"));
    asked.filter(|_| is_long()).unwrap_or(whole)
}

/// One of two sizes.
pub fn size<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}
