//! Entities for which detectors are switched off: allowed scanners, backup accounts.

use crate::core::detect;
use crate::core::event::Entity;
use crate::core::intel::Network;
use crate::core::settings::ExemptSettings;
use crate::core::types::{EntityKey, EntityKind};
use crate::error::{Error, Result};

#[derive(Clone, Debug)]
enum Whom {
    Network(Network),
    Name(EntityKey),
}

/// The pipeline's `exempt:` list, ready to be asked once per new entity.
#[derive(Clone, Debug, Default)]
pub struct Exemptions {
    rules: Vec<(Whom, u16)>,
}

impl Exemptions {
    /// # Errors
    /// Names the entry that cannot be understood.
    pub fn new(settings: &[ExemptSettings]) -> Result<Self> {
        let rules = settings.iter().map(|rule| Ok((whom(&rule.entity)?, mask(&rule.detectors)?))).collect::<Result<_>>()?;
        Ok(Self { rules })
    }

    /// Bit set of detectors that are off for `entity`.
    #[must_use]
    pub fn mask(&self, entity: &Entity<'_>) -> u16 {
        let address = (entity.kind == EntityKind::Ip).then(|| std::net::Ipv6Addr::from(entity.key.0).to_canonical());
        let holds = |whom: &Whom| match whom {
            Whom::Network(network) => address.is_some_and(|address| network.contains(address)),
            Whom::Name(key) => *key == entity.key,
        };
        self.rules.iter().filter(|(whom, _)| holds(whom)).fold(0, |mask, (_, bits)| mask | bits)
    }
}

fn whom(text: &str) -> Result<Whom> {
    let wrong = || Error::config(format!("exempt entity '{text}': write ip:10.0.0.0/24, ip:10.0.0.5, user:name or host:name"));
    let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
    match kind {
        "ip" => Network::parse(name).map(Whom::Network).ok_or_else(wrong),
        "user" => Ok(Whom::Name(EntityKey::of_name(EntityKind::User, name))),
        "host" => Ok(Whom::Name(EntityKey::of_name(EntityKind::Host, name))),
        _ => Err(wrong()),
    }
}

fn mask(detectors: &[String]) -> Result<u16> {
    if detectors.is_empty() {
        return Ok((1 << detect::NAMES.len()) - 1);
    }
    let known = |name: &String| {
        detect::NAMES
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| Error::config(format!("exempt detector '{name}' is not known; known are {}", detect::NAMES.join(", "))))
    };
    detectors.iter().try_fold(0, |mask, name| Ok(mask | 1 << known(name)?))
}
