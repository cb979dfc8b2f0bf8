//! Whose state an event belongs to, by the pipeline's list of preferences. Two spellings of one name never become two entities.
//!
//! Addresses are compared as numbers. Names of users and devices are compared in lower case: directories ignore case, and a case
//! that an attacker may vary would give a fresh history to each variant. The event keeps the name as it was written.

use std::net::IpAddr;

use bumpalo::Bump;

use crate::core::event::Entity;
use crate::core::types::{EntityKey, EntityKind};

/// What a pipeline may choose as its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyChoice {
    /// The source address, if it is a valid one.
    Source,
    /// The user, if the event names one.
    User,
    /// The device, if the event names one.
    Device,
    /// The destination address, if it is a valid one.
    Dest,
}

/// The name of the entity that all events share which name nobody.
const UNKNOWN_NAME: &str = "unknown";

/// What there is to choose from: addresses with their canonical text, names as sanitized. Empty text is absent.
pub(super) struct Names<'b> {
    pub(super) source: (IpAddr, &'b str),
    pub(super) dest: (IpAddr, &'b str),
    pub(super) user: &'b str,
    pub(super) device: &'b str,
}

#[inline]
pub(super) fn choose<'b>(choices: &[KeyChoice], names: &Names<'b>, arena: &'b Bump) -> Entity<'b> {
    for choice in choices {
        let found = match choice {
            KeyChoice::Source => of_address(names.source),
            KeyChoice::Dest => of_address(names.dest),
            KeyChoice::User => of_name(EntityKind::User, names.user, arena),
            KeyChoice::Device => of_name(EntityKind::Host, names.device, arena),
        };
        if let Some(entity) = found {
            return entity;
        }
    }
    let kind = EntityKind::Unknown;
    Entity { kind, key: EntityKey::of_name(kind, UNKNOWN_NAME), name: UNKNOWN_NAME }
}

#[inline]
fn of_address<'b>((address, name): (IpAddr, &'b str)) -> Option<Entity<'b>> {
    (!name.is_empty()).then(|| Entity { kind: EntityKind::Ip, key: EntityKey::of_address(address), name })
}

fn of_name<'b>(kind: EntityKind, name: &'b str, arena: &'b Bump) -> Option<Entity<'b>> {
    if name.is_empty() {
        return None;
    }
    let folded = if name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        name
    } else {
        arena.alloc_str(&name.to_lowercase())
    };
    Some(Entity { kind, key: EntityKey::of_name(kind, folded), name: folded })
}
