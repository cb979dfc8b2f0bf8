//! A pipeline file made ready to run: codec, sanitizer, intelligence, geo, and the engine's parts.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use bumpalo::Bump;

use crate::codec::{self, Codec};
use crate::config::pipeline::PipelineFile;
use crate::core::decode::{Decoded, decode_batch};
use crate::core::detect::{self, LSTM_AUTOENCODER, NAMES, THREAT_INTEL};
use crate::core::engine::{Engine, Parts, Scorer};
use crate::core::ensemble::combine::Column;
use crate::core::ensemble::{Ensemble, SeverityThresholds};
use crate::core::event::Record;
use crate::core::features::row::MODEL_WIDTH;
use crate::core::intel::geo::{GeoLookup, NoGeo};
use crate::core::intel::{IntelBuilder, IntelSet, ListKind, ParsedList, Purpose, parse_list};
use crate::core::sanitize::Sanitizer;
use crate::core::settings::CoreSettings;
use crate::edge::geoip::GeoDatabases;
use crate::error::{Error, Result};
use crate::models::bundle::Bundle;
use crate::models::sample::Fitted;

/// Everything that turns records into effects, apart from state and models.
pub struct Pipeline {
    pub file: PipelineFile,
    pub settings: CoreSettings,
    pub codec: Box<dyn Codec>,
    pub sanitizer: Sanitizer,
    pub intel: Arc<IntelSet>,
    geo: Box<dyn GeoLookup>,
    /// Without models, believe the detectors' own scores in full: what the tests inside pipeline files ask for.
    pub trusts_raw_scores: bool,
}

impl Pipeline {
    /// Opens everything that the file names. `codec` takes the place of the file's where given; `auto` must be resolved before.
    ///
    /// # Errors
    /// `Config`: an unknown codec, or a list or database that cannot be read.
    pub fn open(file: PipelineFile, codec: Option<&str>) -> Result<Self> {
        let settings = file.core();
        let codec = codec::auto::by_name(codec.unwrap_or(&file.source.codec), file.source.mapping.as_ref())?;
        let sanitizer = Sanitizer { key: settings.key.clone(), ..Sanitizer::default() };
        let intel = Arc::new(load_intel(&settings)?);
        let geo = open_geo(&file)?;
        Ok(Self { file, settings, codec, sanitizer, intel, geo, trusts_raw_scores: false })
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
        let thresholds = SeverityThresholds::new(&self.settings.thresholds);
        let mut detectors = detect::rules(&self.settings.detectors);
        let columns = self.columns();
        let Some(bundle) = bundle else {
            let ensemble = Ensemble::declared(&columns, &BTreeMap::new(), None);
            let ensemble = if self.trusts_raw_scores { ensemble.trusting() } else { ensemble };
            return Ok(Scorer::new(detectors, ensemble, thresholds, true));
        };
        self.check_features(bundle)?;
        let is_on = |index: usize| columns[index].weight > 0.0;
        detectors.extend(bundle.detectors().into_iter().filter(|detector| detect::index_of(detector.name()).is_some_and(is_on)));
        let network = bundle.lstm.clone().filter(|_| is_on(LSTM_AUTOENCODER));
        let scorer = Scorer::new(detectors, bundle.ensemble(&columns), thresholds, false);
        Ok(scorer.with_prevalence(bundle.prevalence.clone()).with_network(network).with_version(&bundle.manifest.version))
    }

    /// Detectors with models whose scores nothing is known of yet: for learning that.
    ///
    /// # Errors
    /// As [`Self::scorer`].
    pub fn scorer_of(&self, models: &Fitted) -> Result<Scorer> {
        let thresholds = SeverityThresholds::new(&self.settings.thresholds);
        let mut detectors = detect::rules(&self.settings.detectors);
        detectors.extend(models.detectors("", self.settings.features, &[0.0; MODEL_WIDTH]));
        let ensemble = Ensemble::declared(&self.columns(), &BTreeMap::new(), None);
        Ok(Scorer::new(detectors, ensemble, thresholds, true).with_network(models.lstm.clone()))
    }

    /// The detectors as the ensemble declares them. One that is off weighs nothing.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        NAMES
            .iter()
            .enumerate()
            .map(|(index, name)| Column { name: (*name).to_owned(), weight: weight(&self.settings, name), evidence: index == THREAT_INTEL })
            .collect()
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

fn weight(settings: &CoreSettings, name: &str) -> f32 {
    let all = &settings.detectors;
    let (enabled, weight) = match name {
        "isolation_forest" => (all.isolation_forest.enabled, all.isolation_forest.weight),
        "behavior" => (all.behavior.enabled, all.behavior.weight),
        "beaconing" => (all.beaconing.enabled, all.beaconing.weight),
        "brute_force" => (all.brute_force.enabled, all.brute_force.weight),
        "fan_out" => (all.fan_out.enabled, all.fan_out.weight),
        "lstm_autoencoder" => (all.lstm_autoencoder.enabled, all.lstm_autoencoder.weight),
        "boosted_trees" => (all.boosted_trees.enabled, all.boosted_trees.weight),
        "dns_tunnel" => (all.dns_tunnel.enabled, all.dns_tunnel.weight),
        _ => (true, 1.0),
    };
    if enabled { weight } else { 0.0 }
}

fn load_intel(settings: &CoreSettings) -> Result<IntelSet> {
    let intel = &settings.detectors.threat_intel;
    let mut builder = IntelBuilder::new();
    for list in intel.lists.iter().filter(|_| intel.enabled) {
        let parsed = told(parse_list(&list.name, ListKind::Auto, &read_text(&list.path)?), &list.path)?;
        builder.add(parsed, Purpose::Threat, list.confidence)?;
    }
    for path in &intel.allow {
        builder.add(told(parse_list(path, ListKind::Auto, &read_text(path)?), path)?, Purpose::Exempt, 1.0)?;
    }
    Ok(builder.build())
}

/// Says what was read of a list. One that holds something else is refused: nobody would notice that it finds nothing.
fn told(list: ParsedList, path: &str) -> Result<ParsedList> {
    let ParsedList { name, entries, rejected, examples } = &list;
    let first = examples.first().map_or_else(String::new, |line| format!("line {} is '{}': {}", line.line, line.text, line.reason));
    if entries.is_empty() && *rejected > 0 {
        return Err(Error::config(format!("{path} names no address, network, domain or hash, so it is no list of indicators; {first}")));
    }
    if entries.is_empty() || *rejected > 0 {
        tracing::warn!(list = name, path, entries = entries.len(), left_out = rejected, first, "a list of indicators is not used whole");
    } else {
        tracing::info!(list = name, path, entries = entries.len(), "list of indicators read");
    }
    Ok(list)
}

/// A list's text, unpacked; bounded, because a small file may unpack to anything.
fn read_text(path: &str) -> Result<String> {
    const LIST_BYTES_MAX: u64 = 1 << 30;
    let mut input = crate::edge::file::open_input(path)?;
    let mut bytes = vec![];
    while let Some(file) = input.next_file()? {
        let read = file.reader.take(LIST_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(|error| Error::config(format!("cannot read the list {path}")).because(error))?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn open_geo(file: &PipelineFile) -> Result<Box<dyn GeoLookup>> {
    let paths: Vec<&str> = [&file.geo.city, &file.geo.asn].into_iter().flatten().map(String::as_str).collect();
    if paths.is_empty() { Ok(Box::new(NoGeo)) } else { Ok(Box::new(GeoDatabases::open(&paths)?)) }
}
