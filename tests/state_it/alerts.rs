//! Scenario: a pipeline whose threats made alerts is set back in time, and the correlation with it.
//! Guarantees: every alert comes again once, to the byte, its id included; threats that are published a second time make none.

use crate::process::json;
use crate::site::Site;

const JSON: [&str; 2] = ["--verdicts", "json"];
/// From the beginning of everything.
const FROM: [&str; 4] = ["--verdicts", "json", "--from", "2001-01-01T00:00:00Z"];

#[test]
fn alerts_come_again_once_with_their_ids() {
    let Some(site) = Site::open("alerts_come_again_once") else { return };
    let events = site.send_all();
    let (_, first) = site.run(&JSON);
    let (alerts, threats) = (site.found().alerts, detected(&site));
    assert!(alerts.len() > 1 && first["alerts"] == alerts.len() && first["received"] == events, "{first}");
    let threats_read = site.correlated();
    assert!(threats_read >= threats.len() as u64, "{threats_read} of {}", threats.len());

    for times in 2..=3 {
        let (done, again) = site.run(&FROM);
        assert!(done.err.contains("correlation: threats of") && done.err.contains("correlation: partition"), "{}", done.err);
        assert_eq!((&again["received"], &again["alerts"]), (&first["received"], &first["alerts"]), "{again}");
        let found = counted(site.found().alerts);
        assert_eq!(found.len(), alerts.len(), "no other alert");
        for alert in &alerts {
            assert_eq!(found.get(alert), Some(&times), "{alert} in {found:#?}");
        }
        assert_eq!(counted(detected(&site)).values().copied().max(), Some(times), "threats were published again");
        assert!(site.correlated() > threats_read, "and read");
    }
    let (_, rest) = site.run(&JSON);
    assert_eq!((&rest["received"], &rest["alerts"]), (&0.into(), &0.into()), "everything is settled: {rest}");
    assert_eq!(site.found().alerts.len(), 3 * alerts.len());
}

fn detected(site: &Site) -> Vec<String> {
    site.found().threats.into_iter().filter(|line| json(line)["type"] == "threat.detected").collect()
}

/// How often each line is there.
fn counted(lines: Vec<String>) -> std::collections::BTreeMap<String, i32> {
    let mut found = std::collections::BTreeMap::new();
    lines.into_iter().for_each(|line| *found.entry(line).or_default() += 1);
    found
}
