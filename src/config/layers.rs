//! The layers of the service configuration and where each value came from: flag > environment > file > default.
//!
//! The only place that reads the environment. It is read once, into a list that is passed on.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use config::{Map, Value as Layered, ValueKind};
use serde_norway::Value as Yaml;

use super::problem::{Problem, Problems, nearest};
use super::service::{self, ServiceSettings};
use super::{pipeline, schema, shape};
use crate::edge::secret::MASK;
use crate::error::{Error, Result};

/// File that is read from the working folder when none is named.
const DEFAULT_FILE: &str = "threatguard.yaml";
const PREFIX: &str = "THREATGUARD_";

/// Values given on the command line: dotted key and text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagLayer(Vec<(&'static str, String)>);

impl FlagLayer {
    /// Adds a flag that was given; nothing for one that was not.
    pub fn set(&mut self, key: &'static str, value: Option<impl ToString>) {
        self.0.extend(value.map(|value| (key, value.to_string())));
    }
}

/// The configuration that holds, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub settings: ServiceSettings,
    /// Dotted key and its source, for every value that is not the default.
    pub origins: BTreeMap<String, String>,
    /// Variables that look like settings and are none.
    pub warnings: Vec<String>,
}

/// The `THREATGUARD_*` variables of this process.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let texts = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, _)| name.starts_with(PREFIX)).collect()
}

impl Resolved {
    /// Puts the layers on top of each other.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] with every problem of every layer.
    pub fn new(flags: &FlagLayer, variables: &[(String, String)], file: Option<&FilePath>) -> Result<Self> {
        let schema = schema::service();
        let leaves = shape::leaves(&schema);
        let mut problems = vec![];
        let (file, file_problems) = read_file(chosen_file(variables, file).as_deref(), &schema)?;
        problems.extend(file_problems);
        let (variables, warnings) = known_variables(variables, &leaves);
        let mut builder = config::Config::builder().add_source(file);
        for (key, value, origin) in variables.into_iter().chain(flag_texts(flags)) {
            match typed(&schema, &key, &value) {
                Ok(value) => builder = builder.add_source(Layer(vec![(key, to_layered(&value, &origin))])),
                Err(found) => problems.push(Problems { file: origin, list: found }),
            }
        }
        let built = builder.build().map_err(|failure| Error::config("cannot combine the configuration").because(failure))?;
        let origins = leaves.iter().filter_map(|leaf| origin_of(&built.cache, leaf)).collect();
        let settings: Option<ServiceSettings> = match built.try_deserialize() {
            Ok(settings) => Some(settings),
            Err(failure) if problems.is_empty() => return Err(Error::config(format!("configuration: {failure}"))),
            Err(_) => None,
        };
        problems.extend(settings.as_ref().and_then(|settings| meaning_problems(settings, &origins)));
        match settings {
            Some(settings) if problems.is_empty() => Ok(Self { settings, origins, warnings }),
            _ => Err(Error::config(problems.iter().map(Problems::to_string).collect::<Vec<_>>().join("\n"))),
        }
    }

    /// As YAML with secrets masked and, behind each value, where it came from.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut masked = self.settings.clone();
        // What librdkafka calls a secret is one here too.
        let is_secret = |key: &str| ["password", "secret", "token", "jaas", ".pem"].iter().any(|word| key.contains(word));
        masked.kafka.overrides.iter_mut().filter(|(key, _)| is_secret(key)).for_each(|(_, value)| *value = MASK.to_owned());
        let plain = serde_norway::to_string(&masked).expect("settings are plain data");
        let mut shown = String::new();
        let mut parents: Vec<(usize, String)> = vec![];
        for line in plain.lines() {
            let indent = line.len() - line.trim_start().len();
            shown.push_str(line);
            if let Some((key, _)) = line.trim_start().split_once(':').filter(|_| !line.trim_start().starts_with('-')) {
                parents.retain(|(depth, _)| *depth < indent);
                parents.push((indent, key.to_owned()));
                let path: Vec<&str> = parents.iter().map(|(_, key)| key.as_str()).collect();
                if let Some(origin) = self.origins.get(&path.join(".")) {
                    shown.push_str("  # ");
                    shown.push_str(origin);
                }
            }
            shown.push('\n');
        }
        shown
    }
}

/// The file named by flag or variable, else the default one where it exists.
fn chosen_file(variables: &[(String, String)], named: Option<&FilePath>) -> Option<PathBuf> {
    let variable = variables.iter().find(|(name, _)| name == "THREATGUARD_CONFIG").map(|(_, path)| PathBuf::from(path));
    let default = PathBuf::from(DEFAULT_FILE);
    named.map(PathBuf::from).or(variable).or_else(|| default.is_file().then_some(default))
}

fn read_file(file: Option<&FilePath>, schema: &serde_json::Value) -> Result<(Layer, Option<Problems>)> {
    let Some(file) = file else { return Ok((Layer(vec![]), None)) };
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|failure| Error::config(format!("cannot read {shown}")).because(failure))?;
    let (problems, values) = match pipeline::read::<serde_norway::Mapping>(&text, schema) {
        Ok((values, problems)) => (problems, values),
        Err(problems) => (problems, serde_norway::Mapping::new()),
    };
    let mut layer = vec![];
    for (key, value) in &values {
        if let (Some(key), false) = (key.as_str(), value.is_null()) {
            layer.push((key.to_owned(), to_layered(value, &shown)));
        }
    }
    let problems = (!problems.is_empty()).then(|| Problems::located(&shown, &text, problems));
    Ok((Layer(layer), problems))
}

type Given = (String, String, String);

/// The variables that name a setting, as key, text and origin; and a warning for each that nearly does.
fn known_variables(variables: &[(String, String)], leaves: &[Vec<String>]) -> (Vec<Given>, Vec<String>) {
    let names: Vec<String> = leaves.iter().map(|leaf| leaf.join("_").to_uppercase()).collect();
    let (mut known, mut warnings) = (vec![], vec![]);
    for (name, value) in variables {
        let short = name.strip_prefix(PREFIX).unwrap_or(name);
        if let Some(index) = names.iter().position(|known| known == short) {
            known.push((leaves[index].join("."), value.clone(), format!("environment variable {name}")));
        } else if let Some(near) = nearest(short, names.iter().map(String::as_str)).filter(|_| short != "CONFIG") {
            warnings.push(format!("environment variable {} is no setting, did you mean {PREFIX}{near}?", name.escape_debug()));
        }
    }
    (known, warnings)
}

fn flag_texts(flags: &FlagLayer) -> impl Iterator<Item = Given> {
    let origin = |key: &str| format!("flag --{}", key.replace(['.', '_'], "-"));
    flags.0.iter().map(move |(key, value)| ((*key).to_owned(), value.clone(), origin(key)))
}

/// The text of one setting as the type its schema asks for.
fn typed(schema: &serde_json::Value, key: &str, text: &str) -> Result<Yaml, Vec<Problem>> {
    let nest = |value: &Yaml| {
        key.rsplit('.').fold(value.clone(), |below, key| {
            let mut map = serde_norway::Mapping::new();
            map.insert(key.into(), below);
            map.into()
        })
    };
    let as_text = Yaml::from(text);
    let problems = shape::problems(schema, &nest(&as_text));
    if problems.is_empty() {
        return Ok(as_text);
    }
    match serde_norway::from_str::<Yaml>(text) {
        Ok(value) if !value.is_null() && shape::problems(schema, &nest(&value)).is_empty() => Ok(value),
        _ => Err(problems),
    }
}

/// Problems of meaning, each under the source its value came from.
fn meaning_problems(settings: &ServiceSettings, origins: &BTreeMap<String, String>) -> Option<Problems> {
    let mut list = service::problems(settings);
    for problem in &mut list {
        let key = problem.path.to_string();
        let origin = origins.iter().find(|(leaf, _)| leaf.starts_with(&key)).map_or("default", |(_, origin)| origin);
        problem.message = format!("{} ({origin})", problem.message);
    }
    (!list.is_empty()).then(|| Problems { file: "configuration".into(), list })
}

fn origin_of(cache: &Layered, leaf: &[String]) -> Option<(String, String)> {
    let value = leaf.iter().try_fold(cache, |value, key| match &value.kind {
        ValueKind::Table(table) => table.get(key),
        _ => None,
    })?;
    let first = match &value.kind {
        ValueKind::Array(list) => list.first().unwrap_or(value),
        _ => value,
    };
    first.origin().map(|origin| (leaf.join("."), origin.to_owned()))
}

fn to_layered(value: &Yaml, origin: &str) -> Layered {
    let kind = match value {
        Yaml::Null => ValueKind::Nil,
        Yaml::Bool(flag) => ValueKind::Boolean(*flag),
        Yaml::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => ValueKind::I64(whole),
            (None, Some(whole)) => ValueKind::U64(whole),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or_default()),
        },
        Yaml::String(text) => ValueKind::String(text.clone()),
        Yaml::Sequence(list) => ValueKind::Array(list.iter().map(|item| to_layered(item, origin)).collect()),
        Yaml::Mapping(map) => {
            let entries = map.iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), to_layered(value, origin))));
            ValueKind::Table(entries.collect::<Map<String, Layered>>())
        }
        Yaml::Tagged(tagged) => return to_layered(&tagged.value, origin),
    };
    Layered::new(Some(&origin.to_owned()), kind)
}

/// One layer, as the `config` crate merges them.
#[derive(Clone, Debug)]
struct Layer(Vec<(String, Layered)>);

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }
    fn collect(&self) -> std::result::Result<Map<String, Layered>, config::ConfigError> {
        Ok(self.0.iter().cloned().collect())
    }
}
