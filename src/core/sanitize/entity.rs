//! Whose state an event belongs to, by the pipeline's list of preferences. Two spellings of one name never become two entities.
//!
//! Addresses are compared as numbers. Names of users and devices are compared in lower case: directories ignore case, and a case
//! that an attacker may vary would give a fresh history to each variant. The event keeps the name as it was written.

use bumpalo::Bump;

use crate::core::event::{Entity, Event};
use crate::core::settings::KeyPart;
use crate::core::types::{EntityKey, EntityKind};

/// The name of the entity that all events share which name nobody.
const UNKNOWN_NAME: &str = "unknown";

/// The canonical text of the addresses; empty where there is none.
#[derive(Clone, Copy)]
pub(super) struct Names<'b> {
    pub(super) source: &'b str,
    pub(super) dest: &'b str,
}

/// Sets the entity of a sanitized event: an address only if it is a valid one, a user or a device only if the event names one.
#[inline]
pub(super) fn choose<'b>(choices: &[KeyPart], names: Names<'b>, arena: &'b Bump, event: &mut Event<'b>) {
    for choice in choices {
        let (kind, name) = match choice {
            KeyPart::Source => (EntityKind::Ip, names.source),
            KeyPart::Destination => (EntityKind::Ip, names.dest),
            KeyPart::User => (EntityKind::User, event.user_id),
            KeyPart::Device => (EntityKind::Host, event.device_id),
        };
        if name.is_empty() {
            continue;
        }
        event.entity = match choice {
            KeyPart::Source => Entity { kind, key: EntityKey::of_address(event.source_ip), name },
            KeyPart::Destination => Entity { kind, key: EntityKey::of_address(event.dest_ip), name },
            KeyPart::User | KeyPart::Device => named(kind, folded(name, arena)),
        };
        return;
    }
    event.entity = named(EntityKind::Unknown, UNKNOWN_NAME);
}

fn named(kind: EntityKind, name: &str) -> Entity<'_> {
    Entity { kind, key: EntityKey::of_name(kind, name), name }
}

fn folded<'b>(name: &'b str, arena: &'b Bump) -> &'b str {
    let lower = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if name.bytes().all(lower) { name } else { arena.alloc_str(&name.to_lowercase()) }
}
