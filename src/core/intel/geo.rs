//! Where an address is: the contract of geo look-ups, and the one that knows nothing. Never opens a database.

use std::net::IpAddr;

use crate::core::event::Geo;

/// Looks addresses up where an event carries no `geo` of its own.
///
/// Called by the sanitizing stage, once an event at most, from the thread that owns the partition. The answer may depend on
/// nothing but the address and the database that is loaded; an unknown address gives `Geo::default()`, never an error. The
/// text of an answer is borrowed from the database.
pub trait GeoLookup: Send + Sync {
    fn locate(&self, address: IpAddr) -> Geo<'_>;
}

/// No database: every address is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGeo;

impl GeoLookup for NoGeo {
    fn locate(&self, _address: IpAddr) -> Geo<'_> {
        Geo::default()
    }
}
