//! The shipped pipeline files as the simulated company's own security team would have them: told of its scanners and its VPN.

use std::path::Path;

use crate::config::pipeline::{self, PipelineFile};
use crate::error::{Error, Result};
use crate::simulate::known;

const NETWORK: &str = include_str!("../../pipelines/network.yaml");
const IDENTITY: &str = include_str!("../../pipelines/identity.yaml");

/// Their names and texts.
fn files() -> [(&'static str, String); 2] {
    [("network.yaml", told(NETWORK)), ("identity.yaml", told(IDENTITY))]
}

/// The two pipelines.
///
/// # Errors
/// `Config`: a file that is not sound, which no shipped one is.
pub(super) fn pipelines() -> Result<Vec<PipelineFile>> {
    files().iter().map(|(name, text)| Ok(pipeline::parse(name, text, Path::new("."))?)).collect()
}

/// Writes the files to a folder.
///
/// # Errors
/// `Config`: it cannot be written, or holds such a file already.
pub(super) fn write(folder: &Path) -> Result<()> {
    let failed = |path: &Path, error| Error::config(format!("cannot write {}", path.display())).because(error);
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (name, text) in files() {
        let path = folder.join(name);
        // Whoever has tuned one would not thank us.
        if path.exists() && std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            return Err(Error::config(format!("{} is there already and differs; choose another folder", path.display())));
        }
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// The text of a shipped file with what is known put in.
fn told(text: &str) -> String {
    let asns = known::VPN_ASNS.iter().chain(known::RELAY_ASNS.iter()).chain(known::SATELLITE_ASNS.iter());
    let asns: Vec<String> = asns.map(ToString::to_string).collect();
    let (mut told, mut in_list) = (String::with_capacity(text.len() + 1024), false);
    for line in text.lines() {
        in_list = line == "    travel_exempt_asns:" || (in_list && line.starts_with("      - "));
        if in_list {
            continue;
        }
        told.extend([line, "\n"]);
        match line {
            "  behavior:" => told.push_str(&format!("    travel_exempt_asns: [{}]\n", asns.join(", "))),
            "exempt:" => {
                for address in known::ALLOWED_SCANNERS.iter().chain(&known::MANAGEMENT_HOSTS) {
                    told.push_str(&format!("  - entity: ip:{address}\n    reason: does its work by scanning and managing\n"));
                }
            }
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_in_both_files_and_nothing_else_has_changed() {
        for (file, (name, text)) in pipelines().unwrap().into_iter().zip([("network.yaml", NETWORK), ("identity.yaml", IDENTITY)]) {
            let mut shipped = pipeline::parse(name, text, Path::new(".")).unwrap();
            let entities: Vec<&str> = file.exempt.iter().map(|exempt| exempt.entity.as_str()).collect();
            assert_eq!(entities[..4], ["ip:10.50.0.250", "ip:10.50.0.251", "ip:10.50.0.60", "ip:10.50.0.80"]);
            assert!(file.exempt[..4].iter().all(|exempt| exempt.detectors.is_empty()) && entities.len() == 4 + shipped.exempt.len());
            assert!(file.detectors.behavior.travel_exempt_asns.starts_with(&known::VPN_ASNS));
            (shipped.exempt, shipped.detectors.behavior.travel_exempt_asns) =
                (file.exempt.clone(), file.detectors.behavior.travel_exempt_asns.clone());
            assert_eq!(file, shipped);
        }
    }

    #[test]
    fn a_file_that_somebody_changed_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        write(folder.path()).unwrap();
        std::fs::write(folder.path().join("network.yaml"), "mine").unwrap();
        assert!(write(folder.path()).unwrap_err().to_string().contains("network.yaml is there already"));
    }
}
