//! Draws a [`LiveState`]: pure functions from the state to a frame or a line. Every text from an event is made inert first.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Gauge, Paragraph, Row, Table};

use super::live::{LiveState, LiveThreat, RISKS_MAX};
use crate::core::output::Severity;
use crate::core::printable::printable;
use crate::core::types::EventTime;

const RISK_MAX: f64 = 10.0;
const RISK_BAR_CHARS: usize = 10;
/// Longer texts do not fit any terminal.
const TEXT_CHARS_MAX: usize = 300;

/// The whole view.
pub(super) fn draw(frame: &mut Frame<'_>, state: &LiveState) {
    let [top, middle, bottom, foot] =
        Layout::vertical([Constraint::Length(3), Constraint::Length(9), Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    let [figures, risks] = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(middle);
    draw_progress(frame, top, state);
    draw_figures(frame, figures, state);
    draw_risks(frame, risks, state);
    draw_threats(frame, bottom, state);
    frame.render_widget(Paragraph::new("q quits").style(Style::new().fg(Color::DarkGray)), foot);
}

fn draw_progress(frame: &mut Frame<'_>, area: Rect, state: &LiveState) {
    let block = Block::bordered().title(inert(&state.title));
    let time = state.simulated.map(clock_time).unwrap_or_default();
    let learning = state.learning.map(|done| format!("  learning {:.0} %", done * 100.0)).unwrap_or_default();
    let label = format!("{time}{learning}");
    match state.progress {
        Some(done) => frame.render_widget(Gauge::default().block(block).ratio(share(done)).label(label).gauge_style(Color::Blue), area),
        None => frame.render_widget(Paragraph::new(label).block(block), area),
    }
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, state: &LiveState) {
    let counts = state.counts;
    let latency = state.latency;
    let mut lines = vec![
        Line::from(format!("events      {}  ({}/s)", grouped(counts.received), grouped(state.events_per_second as u64))),
        Line::from(format!("late {}  dead letters {}", grouped(counts.late), grouped(counts.dead_lettered))),
        Line::from(format!("latency     p50 {}  p99 {}  p99.9 {}", micros(latency.p50), micros(latency.p99), micros(latency.p999))),
        Line::from(format!("entities    {}", grouped(state.entities))),
        Line::from(format!("alerts      {}", grouped(state.alerts))),
    ];
    let mut severities = vec![Span::from("threats     ")];
    for (severity, count) in Severity::ALL.iter().zip(state.severities).rev() {
        severities.push(Span::styled(format!("{count} {}  ", severity.as_str()), style(*severity)));
    }
    lines.push(Line::from(severities));
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title("Pipeline")), area);
}

fn draw_risks(frame: &mut Frame<'_>, area: Rect, state: &LiveState) {
    let rows = state.risks.iter().take(RISKS_MAX).map(|(entity, risk)| {
        let filled = (share(risk / RISK_MAX) * RISK_BAR_CHARS as f64).round() as usize;
        let bar = format!("{}{}", "#".repeat(filled), "-".repeat(RISK_BAR_CHARS - filled));
        Row::new([Cell::new(format!("{risk:4.1}")), Cell::new(bar), Cell::new(inert(entity))])
    });
    let widths = [Constraint::Length(4), Constraint::Length(RISK_BAR_CHARS as u16), Constraint::Min(5)];
    frame.render_widget(Table::new(rows, widths).block(Block::bordered().title("Entity risk")), area);
}

fn draw_threats(frame: &mut Frame<'_>, area: Rect, state: &LiveState) {
    let widths = [Constraint::Length(14), Constraint::Length(8), Constraint::Length(20), Constraint::Length(22), Constraint::Min(10)];
    let header = Row::new(["when", "severity", "type", "entity", "what"]).style(Style::new().add_modifier(Modifier::BOLD));
    let table = Table::new(state.threats().map(threat_row), widths).header(header);
    frame.render_widget(table.block(Block::bordered().title("Newest threats")), area);
}

fn threat_row(threat: &LiveThreat) -> Row<'static> {
    Row::new([
        Cell::new(clock_time(threat.time)),
        Cell::new(threat.severity.as_str()).style(style(threat.severity)),
        Cell::new(inert(&threat.kind)),
        Cell::new(inert(&threat.entity)),
        Cell::new(inert(&threat.description)),
    ])
}

/// The state in one line.
pub(super) fn plain(state: &LiveState) -> String {
    let mut parts = vec![];
    parts.extend(state.simulated.map(clock_time));
    parts.extend(state.progress.map(|done| format!("{:.0} %", share(done) * 100.0)));
    parts.push(format!("{} events, {}/s", grouped(state.counts.received), grouped(state.events_per_second as u64)));
    parts.push(format!("p99 {}", micros(state.latency.p99)));
    let [low, medium, high, critical] = state.severities;
    parts.push(format!("threats {critical} critical {high} high {medium} medium {low} low"));
    parts.push(format!("alerts {}", grouped(state.alerts)));
    parts.extend(state.learning.map(|done| format!("learning {:.0} %", done * 100.0)));
    if let Some(newest) = state.threats().next() {
        parts.push(format!("newest: {} {} {}", newest.severity.as_str(), inert(&newest.kind), inert(&newest.entity)));
    }
    parts.join(" | ")
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Low => Style::new().fg(Color::Gray),
        Severity::Medium => Style::new().fg(Color::Yellow),
        Severity::High => Style::new().fg(Color::LightRed),
        Severity::Critical => Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

fn inert(text: &str) -> String {
    let cut: String = text.chars().take(TEXT_CHARS_MAX).collect();
    printable(&cut).into_owned()
}

/// A gauge panics outside 0..1, and a share of nothing is not a number.
fn share(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

/// `03-02 14:05:06`
fn clock_time(time: EventTime) -> String {
    time.to_string().chars().skip(5).take(14).collect::<String>().replace('T', " ")
}

/// `1 234 567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}
