//! What differs between two bundles: data, detectors, what scores mean, where features lie. Decides nothing.

use serde::Serialize;

use super::bundle::{Bundle, Manifest, Origin};
use crate::core::ensemble::Calibration;

/// P-values whose scores are compared.
const P_VALUES: [f64; 3] = [1e-2, 1e-3, 1e-4];

/// One bundle beside another.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub from: Side,
    pub to: Side,
    /// Files whose content differs, or that only one of them has.
    pub parts: Vec<String>,
    pub detectors: Vec<DetectorDifference>,
    /// Most moved first.
    pub features: Vec<FeatureDifference>,
}

/// Where one of them comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    pub version: String,
    pub created_from: Origin,
    pub seed: u64,
    pub rows: u64,
    pub calibration_rows: u64,
}

/// A detector's raw scores at some p-values; absent where a bundle does not know the detector.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectorDifference {
    pub detector: String,
    pub samples: [Option<u64>; 2],
    pub medians: [Option<f32>; 2],
    pub quantiles: Vec<QuantileDifference>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuantileDifference {
    pub p_value: f64,
    pub scores: [Option<f32>; 2],
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeatureDifference {
    pub feature: String,
    pub medians: [f32; 2],
    /// The median's way in median absolute deviations of the first bundle; absent where those are 0.
    pub deviations: Option<f32>,
}

impl FeatureDifference {
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.medians[0].to_bits() != self.medians[1].to_bits()
    }
}

/// Compares `to` with `from`.
#[must_use]
pub fn compare(from: &Bundle, to: &Bundle) -> Difference {
    let mut names: Vec<&String> = from.manifest.detectors.keys().chain(to.manifest.detectors.keys()).collect();
    names.sort();
    names.dedup();
    let mut parts: Vec<String> = from.manifest.parts.keys().chain(to.manifest.parts.keys()).cloned().collect();
    parts.sort();
    parts.dedup();
    parts.retain(|part| from.manifest.parts.get(part) != to.manifest.parts.get(part));
    Difference {
        from: Side::of(&from.manifest),
        to: Side::of(&to.manifest),
        parts,
        detectors: names.into_iter().map(|name| detector(name, [from, to])).collect(),
        features: features(&from.manifest, &to.manifest),
    }
}

impl Side {
    fn of(manifest: &Manifest) -> Self {
        let training = &manifest.training;
        Self {
            version: manifest.version.clone(),
            created_from: manifest.created_from.clone(),
            seed: training.seed,
            rows: training.rows,
            calibration_rows: training.calibration_rows,
        }
    }
}

fn detector(name: &str, bundles: [&Bundle; 2]) -> DetectorDifference {
    let calibrations = bundles.map(|bundle| calibration(bundle, name));
    let at = |p_value: f64| QuantileDifference {
        p_value,
        scores: calibrations.map(|calibration| calibration.map(|calibration| calibration.score_at(-libm::log(p_value) as f32))),
    };
    DetectorDifference {
        detector: name.to_owned(),
        samples: calibrations.map(|calibration| calibration.map(Calibration::samples)),
        medians: bundles.map(|bundle| bundle.manifest.detectors.get(name).map(|metrics| metrics.median)),
        quantiles: P_VALUES.map(at).to_vec(),
    }
}

fn calibration<'b>(bundle: &'b Bundle, name: &str) -> Option<&'b Calibration> {
    bundle.calibrations.get(name).or_else(|| bundle.combined.as_ref().filter(|_| name == super::train::COMBINED))
}

fn features(from: &Manifest, to: &Manifest) -> Vec<FeatureDifference> {
    let mut features: Vec<FeatureDifference> = from
        .features
        .iter()
        .zip(from.medians.iter().zip(&from.deviations))
        .zip(&to.medians)
        .map(|((feature, (was, deviation)), is)| FeatureDifference {
            feature: feature.clone(),
            medians: [*was, *is],
            deviations: (*deviation > 0.0).then(|| (is - was) / deviation),
        })
        .collect();
    let moved = |feature: &FeatureDifference| feature.deviations.unwrap_or(feature.medians[1] - feature.medians[0]).abs();
    features.sort_by(|a, b| moved(b).total_cmp(&moved(a)));
    features
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::bundle::tests::{bundle, changed, trainer};

    #[test]
    fn what_differs_is_shown_and_what_does_not_is_not() {
        let same = compare(&bundle(), &bundle());
        assert!(same.parts.is_empty() && !same.features.iter().any(FeatureDifference::has_moved));
        assert_eq!(compare(&bundle(), &changed()).parts, ["references.json"]);
        let other = compare(&bundle(), &trainer(1, 6_000).finish().unwrap());
        assert!(other.parts.contains(&"calibration.json".to_owned()) && other.parts.contains(&"forest.bin".to_owned()));
        assert_eq!((other.from.created_from.events, other.to.created_from.events), (3_000, 6_000));
        let behavior = other.detectors.iter().find(|detector| detector.detector == "behavior").unwrap();
        assert!(behavior.samples[0] < behavior.samples[1]);
        // Nats of an exponential distribution mean what they say.
        let at = behavior.quantiles[0].scores[1].unwrap();
        assert!((3.9..5.3).contains(&at), "{at}");
        assert!(other.detectors.iter().any(|detector| detector.detector == "combined" && detector.quantiles[0].scores[0].is_some()));
        assert!(other.features.is_sorted_by(|a, b| a.deviations.map(f32::abs) >= b.deviations.map(f32::abs)));
    }
}
