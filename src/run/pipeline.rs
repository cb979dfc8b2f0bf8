//! A pipeline file made ready to run: codec, sanitizer, intelligence, geo, and the engine's parts.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bumpalo::Bump;

use crate::codec::{self, Codec};
use crate::config::pipeline::{MappingSettings, PipelineFile};
use crate::core::decode::{Decoded, decode_batch};
use crate::core::detect::{self, Detector, NAMES, THREAT_INTEL, forest::ForestDetector};
use crate::core::engine::{Engine, Parts, Scorer};
use crate::core::ensemble::{Ensemble, Member, SeverityThresholds};
use crate::core::event::Record;
use crate::core::features::row::MODEL_WIDTH;
use crate::core::intel::geo::{GeoLookup, NoGeo};
use crate::core::intel::{IntelBuilder, IntelSet, ListKind, Purpose, parse_list};
use crate::core::sanitize::{KeyChoice, Sanitizer};
use crate::core::settings::{CoreSettings, KeyPart};
use crate::error::{Error, Result};
use crate::models::bundle::Bundle;

/// Everything that turns records into effects, apart from state and models.
pub struct Pipeline {
    pub file: PipelineFile,
    pub settings: CoreSettings,
    pub codec: Box<dyn Codec>,
    pub sanitizer: Sanitizer,
    pub intel: Arc<IntelSet>,
    geo: Box<dyn GeoLookup>,
}

impl Pipeline {
    /// Opens everything that the file names. `codec` takes the place of the file's where given; `auto` must be resolved before.
    ///
    /// # Errors
    /// `Config`: an unknown codec, or a list or database that cannot be read.
    pub fn open(file: PipelineFile, codec: Option<&str>) -> Result<Self> {
        let settings = file.core();
        let codec = codec::auto::by_name(codec.unwrap_or(&file.source.codec), file.source.mapping.as_ref().map(mapping))?;
        let sanitizer = Sanitizer { key: settings.key.iter().map(choice).collect(), ..Sanitizer::default() };
        let intel = Arc::new(load_intel(&settings)?);
        let geo = open_geo(&file)?;
        Ok(Self { file, settings, codec, sanitizer, intel, geo })
    }

    /// Stages 1 and 2, and the place of sources that brought none.
    pub fn decode<'b>(&'b self, records: &[Record<'b>], arena: &'b Bump, out: &mut Decoded<'b>) {
        decode_batch(self.codec.as_ref(), &self.sanitizer, records, arena, out);
        for event in &mut out.events {
            if event.geo.coordinates.is_none() && event.geo.country.is_empty() {
                event.geo = self.geo.locate(event.source_ip);
            }
        }
    }

    /// An engine without partitions.
    ///
    /// # Errors
    /// A setting that cannot be understood.
    pub fn engine(&self, scorer: Arc<Scorer>, stored: bool, table_seed: u64) -> Result<Engine> {
        Engine::new(&self.settings, Parts { intel: Arc::clone(&self.intel), scorer, stored, table_seed })
    }

    /// Detectors and ensemble of a bundle; without one, the detectors that learn nothing, uncalibrated.
    ///
    /// # Errors
    /// `Config`: the bundle was made for other features.
    pub fn scorer(&self, bundle: Option<&Bundle>) -> Result<Scorer> {
        let detectors_settings = &self.settings.detectors;
        let mut detectors = detect::rules(detectors_settings);
        if let Some(bundle) = bundle {
            self.check_features(bundle)?;
            if let Some(forest) = bundle.forest.as_ref().filter(|_| detectors_settings.isolation_forest.enabled) {
                let version = bundle.manifest.version.clone();
                let ordinary = bundle.manifest.medians;
                let forest: Box<dyn Detector> = Box::new(ForestDetector::new(forest.clone(), version, self.settings.features, ordinary));
                detectors.insert(0, forest);
            }
        }
        let members = NAMES.iter().enumerate().map(|(index, name)| {
            if index == THREAT_INTEL {
                return Member::evidence(*name);
            }
            let calibration = bundle.and_then(|bundle| bundle.calibrations.get(*name).cloned());
            Member::learned(*name, calibration, weight(&self.settings, name, bundle))
        });
        let combined = bundle.and_then(|bundle| bundle.combined.clone());
        let ensemble = Ensemble::new(members.collect(), combined);
        Ok(Scorer::new(detectors, ensemble, SeverityThresholds::new(&self.settings.thresholds), bundle.is_none()))
    }

    fn check_features(&self, bundle: &Bundle) -> Result<()> {
        let names = self.settings.features.model_names();
        if bundle.manifest.features.iter().eq(names.iter()) {
            return Ok(());
        }
        Err(Error::config(format!(
            "the model bundle was trained on other features than pipeline '{}' computes ({}); train one with this pipeline",
            self.file.name,
            self.settings.features.as_str()
        )))
    }
}

/// Weight of a detector in the sum. One that is off, or a forest that is not there yet, weighs nothing.
fn weight(settings: &CoreSettings, name: &str, bundle: Option<&Bundle>) -> f32 {
    let all = &settings.detectors;
    let (enabled, weight) = match name {
        "isolation_forest" => {
            (all.isolation_forest.enabled && bundle.is_some_and(|bundle| bundle.forest.is_some()), all.isolation_forest.weight)
        }
        "behavior" => (all.behavior.enabled, all.behavior.weight),
        "beaconing" => (all.beaconing.enabled, all.beaconing.weight),
        "brute_force" => (all.brute_force.enabled, all.brute_force.weight),
        "fan_out" => (all.fan_out.enabled, all.fan_out.weight),
        "dns_tunnel" => (all.dns_tunnel.enabled, all.dns_tunnel.weight),
        _ => (true, 1.0),
    };
    if enabled { weight } else { 0.0 }
}

const _: () = assert!(MODEL_WIDTH == 16);

fn choice(part: &KeyPart) -> KeyChoice {
    match part {
        KeyPart::Source => KeyChoice::Source,
        KeyPart::Destination => KeyChoice::Dest,
        KeyPart::User => KeyChoice::User,
        KeyPart::Device => KeyChoice::Device,
    }
}

fn mapping(settings: &MappingSettings) -> codec::mapping::Mapping {
    let paths = |(name, paths): (&String, &crate::config::pipeline::PathOrPaths)| {
        (name.clone(), codec::mapping::Paths::Many(paths.paths().to_vec()))
    };
    codec::mapping::Mapping { fields: settings.fields.iter().map(paths).collect(), constants: settings.constants.clone() }
}

fn load_intel(settings: &CoreSettings) -> Result<IntelSet> {
    let intel = &settings.detectors.threat_intel;
    let mut builder = IntelBuilder::new();
    for list in intel.lists.iter().filter(|_| intel.enabled) {
        let parsed = parse_list(&list.name, ListKind::Auto, &read_text(&list.path)?);
        builder.add(parsed, Purpose::Threat, list.confidence)?;
    }
    for path in &intel.allow {
        builder.add(parse_list(path, ListKind::Auto, &read_text(path)?), Purpose::Exempt, 1.0)?;
    }
    Ok(builder.build())
}

/// A list's text, unpacked; bounded, because a small file may unpack to anything.
fn read_text(path: &str) -> Result<String> {
    const LIST_BYTES_MAX: u64 = 1 << 30;
    let (mut text, mut bytes) = (String::new(), vec![]);
    let mut input = crate::edge::file::open_input(Path::new(path))?.take(LIST_BYTES_MAX);
    let failed = |error| Error::config(format!("cannot read the list {path}")).because(error);
    input.read_to_end(&mut bytes).map_err(failed)?;
    text.push_str(&String::from_utf8_lossy(&bytes));
    Ok(text)
}

fn open_geo(_file: &PipelineFile) -> Result<Box<dyn GeoLookup>> {
    Ok(Box::new(NoGeo))
}
