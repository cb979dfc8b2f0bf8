//! How well findings meet the campaigns: per kind and variant found or not, how soon, how much of it; and what was false.
//!
//! Pure. Works on the label file alone, so a run against Kafka is judged like an embedded one. Must never feed back into detection.

use std::collections::BTreeMap;

use serde::Serialize;

use super::campaign::{Campaign, CampaignKind, LabelId, Variant};
use crate::core::types::{EventTime, MICROS_PER_DAY, MICROS_PER_HOUR};

/// An alert, or a threat: whatever is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'f> {
    pub time: EventTime,
    /// `kind:name`, as in [`Campaign::entities`].
    pub entity: &'f str,
    /// Its type as published, such as `brute_force`.
    pub kind: &'f str,
    pub severity: &'f str,
    /// Calibrated p-value of the event that gave rise to it.
    pub p: f64,
}

/// What a finding turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    True(LabelId),
    /// About the internet's background noise: true in a way, and not asked for.
    Neutral,
    False,
}

/// When findings count, and how long after a campaign they still do.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    /// The time that false alerts are counted over.
    pub start: EventTime,
    pub end: EventTime,
    /// After a campaign's last event.
    pub grace_micros: i64,
}

impl Period {
    /// From the end of learning to the end of the simulation, with an hour's grace.
    #[must_use]
    pub fn after_learning(scenario: &super::Scenario) -> Self {
        Self { start: scenario.learned(), end: scenario.end(), grace_micros: MICROS_PER_HOUR }
    }
    fn days(self) -> f64 {
        (self.end.0 - self.start.0).max(1) as f64 / MICROS_PER_DAY as f64
    }
}

/// The owner of an account that was taken over logs in again within this: to a detector, the owner is the stranger.
const TAKEN_OVER_MICROS: i64 = MICROS_PER_DAY;

/// Consumes findings in any order.
#[derive(Debug)]
pub struct Evaluator<'c> {
    campaigns: &'c [Campaign],
    period: Period,
    /// Entity to the campaigns that name it, and from when to when.
    spans: BTreeMap<&'c str, Vec<Span>>,
    hits: Vec<Hits<'c>>,
    types: BTreeMap<String, TypeCounts>,
    totals: Counts,
    false_entities: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    campaign: usize,
    from: i64,
    to: i64,
}

#[derive(Clone, Debug, Default)]
struct Hits<'c> {
    count: u64,
    first: Option<EventTime>,
    entities: Vec<&'c str>,
    smallest_p: Option<f64>,
    types: BTreeMap<String, u64>,
}

/// Findings by what they turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub true_findings: u64,
    pub neutral_findings: u64,
    pub false_findings: u64,
}

impl Counts {
    /// True among the true and the false; `None` where there are neither.
    #[must_use]
    pub fn precision(self) -> Option<f64> {
        let judged = self.true_findings + self.false_findings;
        (judged > 0).then(|| self.true_findings as f64 / judged as f64)
    }
    fn add(&mut self, judgement: Judgement) {
        match judgement {
            Judgement::True(_) => self.true_findings += 1,
            Judgement::Neutral => self.neutral_findings += 1,
            Judgement::False => self.false_findings += 1,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct TypeCounts {
    counts: Counts,
    campaigns: BTreeMap<CampaignKind, u64>,
    severe: u64,
}

/// One line of the table: the campaigns of one kind and variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub kind: CampaignKind,
    pub variant: Variant,
    pub campaigns: u64,
    pub found: u64,
    /// Share of the campaigns' own entities that were named.
    pub entity_recall: f64,
    /// Event time from the start of each found campaign to its first finding: the median of them.
    pub seconds_to_first: Option<f64>,
    pub findings: u64,
    /// Smallest p-value of a finding about it.
    pub smallest_p: Option<f64>,
    /// The type that most of its findings have, and how many of all findings of that type are true.
    pub mostly_as: String,
    pub precision: Option<f64>,
}

/// Findings of one type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeRow {
    pub kind: String,
    #[serde(flatten)]
    pub counts: Counts,
    pub precision: Option<f64>,
    pub false_per_day: f64,
    /// High or critical ones.
    pub severe: u64,
    /// The campaign kinds that the true ones belong to, most frequent first.
    pub campaigns: Vec<(CampaignKind, u64)>,
}

/// The result: rows by kind and variant, by finding type, and the sums.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub rows: Vec<Row>,
    pub types: Vec<TypeRow>,
    pub campaigns: u64,
    pub found: u64,
    /// Found campaigns among all.
    pub recall: f64,
    #[serde(flatten)]
    pub counts: Counts,
    pub precision: Option<f64>,
    pub days: f64,
    pub false_per_day: f64,
    /// Entities with false findings, most first, at most ten.
    pub false_entities: Vec<(String, u64)>,
}

impl<'c> Evaluator<'c> {
    #[must_use]
    pub fn new(campaigns: &'c [Campaign], period: Period) -> Self {
        let mut spans: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
        for (index, campaign) in campaigns.iter().enumerate() {
            let grace = period.grace_micros;
            for entity in &campaign.entities {
                let span = Span { campaign: index, from: campaign.start.0, to: campaign.end.0 + grace };
                spans.entry(entity).or_default().push(span);
            }
            for touched in &campaign.touched {
                let after = if touched.taken_over { TAKEN_OVER_MICROS.max(grace) } else { grace };
                let span = Span { campaign: index, from: touched.first.0, to: touched.last.0 + after };
                spans.entry(&touched.entity).or_default().push(span);
            }
        }
        let hits = vec![Hits::default(); campaigns.len()];
        Self { campaigns, period, spans, hits, types: BTreeMap::new(), totals: Counts::default(), false_entities: BTreeMap::new() }
    }

    /// Judges and counts one finding. Of several campaigns it may belong to, all are found by it.
    pub fn add(&mut self, finding: &Finding<'_>) -> Judgement {
        let judgement = self.hit(finding);
        self.totals.add(judgement);
        let of_type = match self.types.get_mut(finding.kind) {
            Some(counts) => counts,
            None => self.types.entry(finding.kind.to_owned()).or_default(),
        };
        of_type.counts.add(judgement);
        of_type.severe += u64::from(matches!(finding.severity, "high" | "critical"));
        match judgement {
            Judgement::True(id) => {
                let kind = self.campaigns.iter().find(|campaign| campaign.id == id).map(|campaign| campaign.kind);
                *of_type.campaigns.entry(kind.expect("judged by a campaign of ours")).or_default() += 1;
            }
            Judgement::False => *self.false_entities.entry(finding.entity.to_owned()).or_default() += 1,
            Judgement::Neutral => {}
        }
        judgement
    }

    fn hit(&mut self, finding: &Finding<'_>) -> Judgement {
        let mut judgement = Judgement::False;
        let Some((entity, spans)) = self.spans.get_key_value(finding.entity) else { return judgement };
        let mut counted: Option<usize> = None;
        for span in spans.iter().filter(|span| (span.from..=span.to).contains(&finding.time.0)) {
            let campaign = &self.campaigns[span.campaign];
            if campaign.kind == CampaignKind::BackgroundScan {
                if judgement == Judgement::False {
                    judgement = Judgement::Neutral;
                }
                continue;
            }
            if counted == Some(span.campaign) {
                continue;
            }
            counted = Some(span.campaign);
            if !matches!(judgement, Judgement::True(_)) {
                judgement = Judgement::True(campaign.id);
            }
            self.hits[span.campaign].add(entity, finding);
        }
        judgement
    }

    /// The table. Campaigns that wrote no event do not count.
    #[must_use]
    pub fn report(&self) -> Report {
        let attacks = || self.campaigns.iter().zip(&self.hits).filter(|(c, _)| c.kind != CampaignKind::BackgroundScan && c.events > 0);
        let mut groups: BTreeMap<(CampaignKind, Variant), Vec<(&Campaign, &Hits<'_>)>> = BTreeMap::new();
        for (campaign, hits) in attacks() {
            groups.entry((campaign.kind, campaign.variant)).or_default().push((campaign, hits));
        }
        let (campaigns, found) = (attacks().count() as u64, attacks().filter(|(_, hits)| hits.count > 0).count() as u64);
        let days = self.period.days();
        let mut false_entities: Vec<(String, u64)> = self.false_entities.iter().map(|(entity, count)| (entity.clone(), *count)).collect();
        false_entities.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        false_entities.truncate(10);
        Report {
            rows: groups.into_iter().map(|((kind, variant), members)| self.row(kind, variant, &members)).collect(),
            types: self.types.iter().map(|(kind, counts)| type_row(kind, counts, days)).collect(),
            campaigns,
            found,
            recall: if campaigns == 0 { 0.0 } else { found as f64 / campaigns as f64 },
            counts: self.totals,
            precision: self.totals.precision(),
            days,
            false_per_day: self.totals.false_findings as f64 / days,
            false_entities,
        }
    }

    fn row(&self, kind: CampaignKind, variant: Variant, members: &[(&Campaign, &Hits<'_>)]) -> Row {
        let own = |campaign: &Campaign, hits: &Hits<'_>| campaign.entities.iter().filter(|e| hits.entities.contains(&e.as_str())).count();
        let (named, entities) =
            members.iter().fold((0, 0), |(named, all), (campaign, hits)| (named + own(campaign, hits), all + campaign.entities.len()));
        let mut delays: Vec<f64> = members.iter().filter_map(|(c, hits)| Some(hits.first?.seconds_since(c.start))).collect();
        delays.sort_by(f64::total_cmp);
        let mut types: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, count) in members.iter().flat_map(|(_, hits)| &hits.types) {
            *types.entry(kind).or_default() += count;
        }
        let mostly_as = types.into_iter().max_by_key(|(_, count)| *count).map_or("", |(kind, _)| kind);
        Row {
            kind,
            variant,
            campaigns: members.len() as u64,
            found: delays.len() as u64,
            entity_recall: named as f64 / entities.max(1) as f64,
            seconds_to_first: delays.get(delays.len().saturating_sub(1) / 2).copied(),
            findings: members.iter().map(|(_, hits)| hits.count).sum(),
            smallest_p: members.iter().filter_map(|(_, hits)| hits.smallest_p).min_by(f64::total_cmp),
            mostly_as: mostly_as.to_owned(),
            precision: self.types.get(mostly_as).and_then(|of_type| of_type.counts.precision()),
        }
    }
}

impl<'c> Hits<'c> {
    fn add(&mut self, entity: &'c str, finding: &Finding<'_>) {
        self.count += 1;
        self.first = Some(self.first.map_or(finding.time, |first| first.min(finding.time)));
        self.smallest_p = Some(self.smallest_p.map_or(finding.p, |p| p.min(finding.p)));
        if !self.entities.contains(&entity) {
            self.entities.push(entity);
        }
        *self.types.entry(finding.kind.to_owned()).or_default() += 1;
    }
}

fn type_row(kind: &str, of_type: &TypeCounts, days: f64) -> TypeRow {
    let mut campaigns: Vec<(CampaignKind, u64)> = of_type.campaigns.iter().map(|(kind, count)| (*kind, *count)).collect();
    campaigns.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let false_per_day = of_type.counts.false_findings as f64 / days;
    let precision = of_type.counts.precision();
    TypeRow { kind: kind.to_owned(), counts: of_type.counts, precision, false_per_day, severe: of_type.severe, campaigns }
}

impl Report {
    /// The table for people: a header, a row for each kind and variant, one for each type, and the sums. Cells are not padded.
    #[must_use]
    pub fn table(&self) -> Vec<Vec<String>> {
        let header =
            ["campaign", "variant", "found", "entities", "first after", "findings", "smallest p", "mostly as", "precision of that"];
        let mut lines = vec![header.map(str::to_owned).to_vec()];
        for row in &self.rows {
            lines.push(vec![
                row.kind.as_str().to_owned(),
                row.variant.as_str().to_owned(),
                format!("{}/{}", row.found, row.campaigns),
                percent(Some(row.entity_recall)),
                row.seconds_to_first.map_or_else(|| "-".to_owned(), duration),
                row.findings.to_string(),
                row.smallest_p.map_or_else(|| "-".to_owned(), |p| format!("{p:.1e}")),
                if row.mostly_as.is_empty() { "-".to_owned() } else { row.mostly_as.clone() },
                percent(row.precision),
            ]);
        }
        lines
    }

    /// The sums as one sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} of {} campaigns found; precision {} ({} true, {} false, {} about background noise); {:.1} false findings a day over {:.1} days",
            self.found,
            self.campaigns,
            percent(self.precision),
            self.counts.true_findings,
            self.counts.false_findings,
            self.counts.neutral_findings,
            self.false_per_day,
            self.days,
        )
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// Seconds as a person says them.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
