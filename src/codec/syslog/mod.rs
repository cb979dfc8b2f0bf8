//! The `syslog` codec: RFC 5424, RFC 3164 and what daemons really write, with or without `<PRI>`. Never reads the host's clock.
//!
//! RFC 3164 has no year. The timestamp is handed on without one; the sanitizer takes the year that brings it nearest to the record's
//! time, else its `default_year`. Bytes that are not UTF-8 are replaced and the repair is listed: old daemons write Latin-1.
//! A line without `<PRI>` has to begin with a timestamp to be one of syslog's.
//!
//! `device_id` is the host that wrote the line; `app`, `pid`, `facility`, `severity`, `msgid`, `structured_data` and `message` are
//! kept in `extra`. What the message says about log-ins is read in [`auth`]; any other is a `system.message`.

pub mod auth;
#[cfg(test)]
mod tests;

use bumpalo::Bump;

use super::json::string_in;
use super::{Codec, DecodeError, Extra, repaired};
use crate::core::event::{Field, FieldId, RawEvent, RejectReason, Repair};

#[derive(Clone, Copy, Debug, Default)]
pub struct Syslog;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Header<'b> {
    priority: Option<u8>,
    timestamp: &'b str,
    host: &'b str,
    app: &'b str,
    pid: &'b str,
    message_id: &'b str,
    structured_data: &'b str,
    message: &'b str,
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Codec for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn decode<'b>(&self, payload: &'b [u8], arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
        let line = match std::str::from_utf8(payload) {
            Ok(text) => text,
            Err(_) => {
                repaired(&mut out.repairs, Repair::InvalidUtf8, true);
                arena.alloc_str(&String::from_utf8_lossy(payload))
            }
        };
        let line = line.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
        if line.is_empty() {
            return Err(DecodeError::new(RejectReason::Empty, "nothing but white space"));
        }
        let header = header(line)
            .ok_or_else(|| DecodeError::new(RejectReason::Malformed, "neither a priority nor a timestamp at the start of the line"))?;
        let mut extra = Extra::new(arena);
        keep(&header, arena, &mut extra);
        for (id, text) in [(FieldId::Timestamp, header.timestamp), (FieldId::DeviceId, header.host)] {
            if !text.is_empty() {
                out.set(id, Field::Text(text));
            }
        }
        auth::read(header.app, header.message, arena, &mut extra, out);
        extra.finish(out);
        Ok(())
    }
}

/// Whether a line has a header that this codec accepts.
pub(super) fn is_syslog(line: &str) -> bool {
    header(line.trim_ascii()).is_some()
}

fn keep<'b>(header: &Header<'b>, arena: &'b Bump, extra: &mut Extra<'b>) {
    if let Some(priority) = header.priority {
        extra.push("facility", string_in(arena, FACILITIES[usize::from(priority / 8)]));
        extra.push("severity", string_in(arena, SEVERITIES[usize::from(priority % 8)]));
    }
    let texts = [
        ("app", header.app),
        ("pid", header.pid),
        ("msgid", header.message_id),
        ("structured_data", header.structured_data),
        ("message", header.message),
    ];
    for (name, text) in texts {
        if !text.is_empty() {
            extra.push(name, string_in(arena, text));
        }
    }
}

fn header(line: &str) -> Option<Header<'_>> {
    let (priority, rest) = match priority(line) {
        Some((priority, rest)) => (Some(priority), rest),
        None => (None, line),
    };
    if let Some(rest) = rest.strip_prefix("1 ")
        && let Some(header) = rfc5424(rest)
    {
        return Some(Header { priority, ..header });
    }
    let Some(end) = timestamp_end(rest) else {
        // RFC 3164, 4.3.3: what follows a priority may be anything.
        return priority.map(|_| Header { priority, message: rest, ..Header::default() });
    };
    let (host, content) = next_word(rest[end..].trim_start());
    let (app, pid, message) = tag(content.trim_start());
    Some(Header { priority, timestamp: rest[..end].trim_end_matches(':'), host, app, pid, message, ..Header::default() })
}

/// `<34>`: facility times eight plus severity, at most 191.
fn priority(line: &str) -> Option<(u8, &str)> {
    let (digits, rest) = line.strip_prefix('<')?.split_once('>')?;
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let priority = valid.then(|| digits.parse().ok())??;
    (priority <= 191).then_some((priority, rest))
}

/// `TIMESTAMP HOST APP PROCID MSGID SD MSG`, each possibly `-`.
fn rfc5424(rest: &str) -> Option<Header<'_>> {
    let mut rest = rest;
    let mut words = [""; 5];
    for word in &mut words {
        let (text, after) = rest.split_once(' ')?;
        *word = if text == "-" { "" } else { text };
        rest = after;
    }
    let [timestamp, host, app, pid, message_id] = words;
    if !timestamp.is_empty() && !timestamp.contains('T') {
        return None;
    }
    let end = structured_data_end(rest)?;
    let structured_data = if &rest[..end] == "-" { "" } else { &rest[..end] };
    let message = rest[end..].trim_start().trim_start_matches('\u{feff}');
    Some(Header { priority: None, timestamp, host, app, pid, message_id, structured_data, message })
}

/// The end of `-` or of `[id name="value"]...`; quotes inside values are escaped by a backslash.
fn structured_data_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() == Some(&b'-') {
        return Some(1);
    }
    let mut at = 0;
    while bytes.get(at) == Some(&b'[') {
        let mut quoted = false;
        loop {
            at += 1;
            match bytes.get(at)? {
                b'\\' if quoted => at += 1,
                b'"' => quoted = !quoted,
                b']' if !quoted => break,
                _ => {}
            }
        }
        at += 1;
    }
    (at > 0).then_some(at)
}

/// The end of a timestamp at the start of a line: `Dec 10 06:55:46` (also with a year or a fraction) or ISO 8601.
fn timestamp_end(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    if bytes.first()?.is_ascii_digit() {
        let end = line.find(' ').unwrap_or(line.len());
        let iso = end >= 19 && bytes[4] == b'-' && bytes[7] == b'-' && matches!(bytes[10], b'T' | b't');
        return iso.then_some(end);
    }
    MONTHS.iter().any(|month| line.starts_with(month)).then_some(())?;
    let mut words = Words { text: line, at: 3 };
    let (_, day) = words.next()?;
    let (mut end, mut clock) = words.next()?;
    if clock.len() == 4 && clock.bytes().all(|byte| byte.is_ascii_digit()) {
        (end, clock) = words.next()?;
    }
    let is_day = matches!(day.len(), 1 | 2) && day.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = clock.as_bytes();
    (is_day && bytes.len() >= 8 && bytes[2] == b':' && bytes[5] == b':').then_some(end)
}

/// Words between blanks with the offset of their end.
struct Words<'b> {
    text: &'b str,
    at: usize,
}

impl<'b> Iterator for Words<'b> {
    type Item = (usize, &'b str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start_matches(' ').len());
        let end = self.text[start..].find(' ').map_or(self.text.len(), |length| start + length);
        self.at = end;
        (end > start).then(|| (end, &self.text[start..end]))
    }
}

fn next_word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// `sshd[123]: message`, `sshd(pam_unix)[123]: message`, `kernel: message`, `syslogd 1.4.1: restart`. No colon: all of it is message.
fn tag(content: &str) -> (&str, &str, &str) {
    let Some((tag, message)) = content.split_once(": ").or_else(|| content.strip_suffix(':').map(|tag| (tag, ""))) else {
        return ("", "", content);
    };
    let (name, rest) = match tag.find(['[', '(', ' ']) {
        Some(at) => tag.split_at(at),
        None => (tag, ""),
    };
    // A colon deep inside a sentence is no tag's.
    if name.is_empty() || (rest.starts_with(' ') && rest.len() > 16) {
        return ("", "", content);
    }
    let pid = rest.split_once('[').and_then(|(_, pid)| pid.strip_suffix(']')).unwrap_or_default();
    (name, pid, message.trim_start())
}
