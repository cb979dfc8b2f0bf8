//! A backtest as a JUnit report: a test case for each bar, the measures as properties.

use super::report::Report;

/// The XML. Without any bar there is one test case that passes: that it was measured.
#[must_use]
pub fn junit(report: &Report, seconds: f64) -> String {
    let missed = report.bars.iter().filter(|bar| !bar.met).count();
    let tests = report.bars.len().max(1);
    let name = escaped(&format!("backtest {}", report.pipeline));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts = format!("tests=\"{tests}\" failures=\"{missed}\" errors=\"0\" time=\"{seconds:.3}\"");
    xml.push_str(&format!("<testsuites {counts}>\n  <testsuite name=\"{name}\" {counts}>\n    <properties>\n"));
    for (name, value) in properties(report) {
        xml.push_str(&format!("      <property name=\"{}\" value=\"{}\"/>\n", escaped(&name), escaped(&value)));
    }
    xml.push_str("    </properties>\n");
    let class = escaped(&format!("threatguard.backtest.{}", report.pipeline));
    if report.bars.is_empty() {
        xml.push_str(&format!("    <testcase classname=\"{class}\" name=\"measured\" time=\"{seconds:.3}\"/>\n"));
    }
    for bar in &report.bars {
        let head = format!("    <testcase classname=\"{class}\" name=\"{} {}\" time=\"0\"", bar.name, bar.limit);
        if bar.met {
            xml.push_str(&format!("{head}/>\n"));
        } else {
            xml.push_str(&format!("{head}>\n      <failure message=\"{}\"/>\n    </testcase>\n", escaped(&bar.sentence())));
        }
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn properties(report: &Report) -> Vec<(String, String)> {
    let mut list = vec![
        ("models".to_owned(), report.models.clone().unwrap_or_default()),
        ("measured".to_owned(), report.fates.measured.to_string()),
        ("incidents.recall".to_owned(), report.incidents.ensemble.recall.to_string()),
    ];
    let levels = [("events", Some(&report.events)), ("entities", report.entities.as_ref())];
    for (name, level) in levels.into_iter().filter_map(|(name, level)| Some((name, level?))) {
        let measures = &level.ensemble;
        let figures = [
            ("baseRate", level.base_rate),
            ("rocAuc", measures.roc_auc),
            ("prAuc", measures.pr_auc),
            ("deployed.tpr", measures.deployed.tpr),
            ("deployed.fpr", measures.deployed.fpr),
            ("alertsPerMillion", measures.alerts_per_million),
        ];
        list.extend(figures.map(|(figure, value)| (format!("{name}.{figure}"), value.to_string())));
    }
    list
}

/// Text inside an attribute; what XML cannot hold at all becomes a question mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('?'),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_breaks_out_of_an_attribute() {
        assert_eq!(super::escaped("a\"><b>&'\u{1b}\n"), "a&quot;&gt;&lt;b&gt;&amp;'??");
    }
}
