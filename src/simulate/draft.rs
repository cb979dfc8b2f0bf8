//! One event before it is written. Reused from event to event; must never allocate once its buffer has grown.

use super::campaign::LabelId;
use super::geo::Egress;

/// Which pipeline an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// What network sensors and gateways see; keyed by source address.
    Network,
    /// What directories and applications log about people; keyed by user.
    Identity,
}

pub(super) const NOBODY: u32 = u32::MAX;

/// Plain values; empty text and 0 are left out of the line.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) family: Family,
    pub(super) event_type: &'static str,
    pub(super) source: u32,
    /// 0: none.
    pub(super) dest: u32,
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    pub(super) packets: u64,
    pub(super) duration_millis: u64,
    pub(super) agent: &'static str,
    /// Account number or [`NOBODY`].
    pub(super) user: u32,
    pub(super) resource: Vec<u8>,
    pub(super) action: &'static str,
    pub(super) outcome: &'static str,
    pub(super) device: u32,
    pub(super) session: u64,
    pub(super) place: Option<Egress>,
    pub(super) label: Option<LabelId>,
}

pub(super) const SUCCESS: &str = "success";
pub(super) const FAILURE: &str = "failure";

impl Draft {
    pub(super) const fn new() -> Self {
        Self {
            family: Family::Network,
            event_type: "",
            source: 0,
            dest: 0,
            protocol: "",
            port: 0,
            bytes_out: 0,
            bytes_in: 0,
            packets: 0,
            duration_millis: 0,
            agent: "",
            user: NOBODY,
            resource: Vec::new(),
            action: "",
            outcome: "",
            device: 0,
            session: 0,
            place: None,
            label: None,
        }
    }

    fn begin(&mut self, family: Family, event_type: &'static str, source: u32) -> &mut Self {
        let mut resource = std::mem::take(&mut self.resource);
        resource.clear();
        *self = Self { family, event_type, source, resource, ..Self::new() };
        self
    }

    /// A flow: its figures follow by [`Draft::volume`].
    pub(super) fn flow(&mut self, source: u32, dest: u32, protocol: &'static str, port: u16) -> &mut Self {
        let draft = self.begin(Family::Network, "network.connection", source);
        (draft.dest, draft.protocol, draft.port, draft.outcome) = (dest, protocol, port, SUCCESS);
        draft
    }

    /// Encrypted web traffic; the resource is the name the client asked for.
    pub(super) fn tls(&mut self, source: u32, dest: u32, name: &str) -> &mut Self {
        let draft = self.flow(source, dest, "tcp", 443);
        draft.event_type = "tls.session";
        draft.text(name)
    }

    /// A question to the company's resolver; the caller appends the name.
    pub(super) fn dns(&mut self, source: u32, kind: &'static str, answer_bytes: u64) -> &mut Self {
        let draft = self.flow(source, super::known::RESOLVER, "udp", 53);
        (draft.event_type, draft.action) = ("dns.query", kind);
        draft.bytes_in = answer_bytes;
        draft.packets = 2;
        draft
    }

    /// What a person or service did; `place` is where it seems to come from.
    pub(super) fn deed(&mut self, event_type: &'static str, user: u32, source: u32, place: Option<Egress>) -> &mut Self {
        let draft = self.begin(Family::Identity, event_type, source);
        (draft.user, draft.place, draft.outcome) = (user, place, SUCCESS);
        draft
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.resource.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn volume(&mut self, bytes_out: u64, bytes_in: u64, duration_millis: u64) -> &mut Self {
        (self.bytes_out, self.bytes_in, self.duration_millis) = (bytes_out, bytes_in, duration_millis);
        self.packets = 2 + bytes_out / 1_150 + bytes_in / 1_300;
        self
    }

    pub(super) fn failed(&mut self) -> &mut Self {
        self.outcome = FAILURE;
        self
    }
}
