//! How long the tests are: short in every run of the tests, long where `tests/faults/long` asks for it.

pub fn is_long() -> bool {
    std::env::var("THREATGUARD_FAULTS").is_ok_and(|length| length == "long")
}

/// One of two sizes.
pub fn size<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}
