//! Figures in words, for explanations. Only called for threats; never part of a score.

/// A count: whole when large or whole, with one decimal otherwise.
#[must_use]
pub fn count(value: f32) -> String {
    let rounded = value.round();
    if value >= 10.0 || (value - rounded).abs() < 0.05 { format!("{rounded:.0}") } else { format!("{value:.1}") }
}

/// Bytes in decimal units: `512 B`, `1.2 MB`.
#[must_use]
pub fn bytes(value: f32) -> String {
    let mut scaled = value.max(0.0);
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if scaled < 1000.0 {
            return format!("{} {unit}", count(scaled));
        }
        scaled /= 1000.0;
    }
    format!("{} PB", count(scaled))
}

/// A span given in seconds: `45 s`, `5 min`, `6 h`, `3 days`.
#[must_use]
pub fn seconds(value: f32) -> String {
    if value < 120.0 {
        format!("{} s", count(value))
    } else if value < 7_200.0 {
        format!("{} min", count(value / 60.0))
    } else if value < 172_800.0 {
        format!("{} h", count(value / 3_600.0))
    } else {
        format!("{} days", count(value / 86_400.0))
    }
}

/// A share, 0..1, as per cent.
#[must_use]
pub fn percent(share: f32) -> String {
    format!("{} %", count(100.0 * share))
}

/// `1 port`, `12 ports`.
#[must_use]
pub fn plural(value: f32, one: &str, many: &str) -> String {
    let text = count(value);
    let noun = if text == "1" { one } else { many };
    format!("{text} {noun}")
}

/// Undoes `log2(x + 1)`, the scale of volume signals.
#[must_use]
pub fn from_log2(value: f32) -> f32 {
    (libm::exp2f(value.clamp(0.0, 126.0)) - 1.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        for (shown, expected) in [
            (count(3.0), "3"),
            (count(3.44), "3.4"),
            (count(512.3), "512"),
            (bytes(0.0), "0 B"),
            (bytes(1_234_567.0), "1.2 MB"),
            (bytes(5.0e16), "50 PB"),
            (seconds(59.6), "60 s"),
            (seconds(300.0), "5 min"),
            (seconds(21_600.0), "6 h"),
            (seconds(259_200.0), "3 days"),
            (percent(0.031), "3.1 %"),
            (plural(1.0, "port", "ports"), "1 port"),
            (plural(12.0, "port", "ports"), "12 ports"),
            (bytes(from_log2(20.0)), "1 MB"),
        ] {
            assert_eq!(shown, expected);
        }
    }
}
