//! Remembers whom a campaign's events name, and when. Must never decide anything about the events themselves.

use std::net::Ipv4Addr;

use super::campaign::{Campaign, CampaignKind, Touched};
use super::draft::{Draft, NOBODY, SUCCESS};
use crate::core::types::{EventTime, MICROS_PER_HOUR};

/// An entity that was silent for longer starts a new span.
const SPAN_GAP_MICROS: i64 = MICROS_PER_HOUR;

/// For every campaign the latest span of each entity, beside the labels' text.
#[derive(Debug)]
pub(super) struct Touches(Vec<Vec<(Key, usize)>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Source(u32),
    Account(u32),
}

impl Touches {
    pub(super) fn new(campaigns: usize) -> Self {
        Self(vec![Vec::new(); campaigns])
    }

    /// Counts one event of `campaign`; `list`: and remembers whom it names.
    pub(super) fn note(&mut self, campaign: &mut Campaign, list: bool, time: i64, draft: &Draft, accounts: &[String]) {
        campaign.events += 1;
        if !list {
            return;
        }
        self.touch(campaign, Key::Source(draft.source), time, accounts);
        if draft.user != NOBODY {
            let index = self.touch(campaign, Key::Account(draft.user), time, accounts);
            let stranger =
                matches!(campaign.kind, CampaignKind::BruteForce | CampaignKind::PasswordSpraying | CampaignKind::ImpossibleTravel);
            let log_in = draft.event_type == "auth.login" && draft.outcome == SUCCESS;
            campaign.touched[index].taken_over |= stranger && log_in;
        }
    }

    /// Index of the span that the event lies in.
    fn touch(&mut self, campaign: &mut Campaign, key: Key, time: i64, accounts: &[String]) -> usize {
        let latest = &mut self.0[campaign.id.0 as usize];
        let known = latest.iter_mut().rev().find(|(other, _)| *other == key);
        if let Some((_, index)) = &known {
            let span = &mut campaign.touched[*index];
            if time - span.last.0 <= SPAN_GAP_MICROS {
                span.first = span.first.min(EventTime(time));
                span.last = span.last.max(EventTime(time));
                return *index;
            }
        }
        let index = campaign.touched.len();
        match known {
            Some(entry) => entry.1 = index,
            None => latest.push((key, index)),
        }
        let entity = match key {
            Key::Source(address) => format!("ip:{}", Ipv4Addr::from(address)),
            Key::Account(account) => format!("user:{}", accounts[account as usize]),
        };
        campaign.touched.push(Touched { entity, first: EventTime(time), last: EventTime(time), taken_over: false });
        index
    }
}
