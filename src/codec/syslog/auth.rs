//! What log-in messages say: OpenSSH, PAM, sudo, su, the user tools, log-in daemons. A message that fits nothing is a `system.message`.
//!
//! | event type | messages | outcome |
//! |---|---|---|
//! | `auth.login` | Accepted / Failed ... for U from A; PAM authentication failure; FTP and console log-ins | as said |
//! | `auth.invalid_user` | Invalid user U from A | failure |
//! | `auth.session` / `auth.logout` | session opened / closed for user U; New session of user U | success |
//! | `auth.disconnect` | connection closed, reset, disconnected; too many attempts | failure where it says so |
//! | `auth.probe` | no identification, bad protocol, reverse mapping failed | failure |
//! | `auth.sudo`, `auth.su` | who became whom, with which command as the resource | as said |
//! | `auth.account` | users and groups added, changed, removed; passwords changed | as said |
//!
//! Names are attacker-chosen: `x from 10.0.0.1 port 22` is a legal user name. The address is therefore always the last one that the
//! daemon wrote, and the name is what stands between the fixed parts.

use std::net::IpAddr;

use bumpalo::Bump;

use super::super::Extra;
use super::super::json::string_in;
use crate::core::event::{Field, FieldId, RawEvent};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading<'b> {
    pub event_type: &'static str,
    pub action: &'b str,
    pub user: &'b str,
    /// An address, or a host name where the daemon resolved it.
    pub source: &'b str,
    pub source_port: &'b str,
    pub resource: &'b str,
    pub success: Option<bool>,
    /// How often it happened, for lines that stand for several.
    pub repeated: &'b str,
}

/// Reads a message into the event.
pub(super) fn read<'b>(app: &'b str, message: &'b str, arena: &'b Bump, extra: &mut Extra<'b>, out: &mut RawEvent<'b>) {
    let reading = understand(app, message);
    let mut set = |id, text: &'b str| {
        if !text.is_empty() {
            out.set(id, Field::Text(text));
        }
    };
    set(FieldId::EventType, reading.event_type);
    set(FieldId::Action, reading.action);
    set(FieldId::UserId, reading.user);
    set(FieldId::Resource, if reading.resource.is_empty() { app } else { reading.resource });
    set(FieldId::Outcome, reading.success.map_or("", |success| if success { "success" } else { "failure" }));
    if app == "sshd" {
        set(FieldId::Protocol, "ssh");
    }
    if reading.source.parse::<IpAddr>().is_ok() {
        set(FieldId::SourceIp, reading.source);
    } else if !reading.source.is_empty() {
        extra.push("source_host", string_in(arena, reading.source));
    }
    for (name, text) in [("source_port", reading.source_port), ("repeated", reading.repeated)] {
        if !text.is_empty() {
            extra.push(name, string_in(arena, text));
        }
    }
}

/// What a message says, by the program that wrote it.
#[must_use]
pub fn understand<'b>(app: &str, message: &'b str) -> Reading<'b> {
    let message = message.trim();
    if let Some((count, inner)) = repeated(message) {
        return Reading { repeated: count, ..understand(app, inner) };
    }
    let found = match app {
        "sudo" => sudo(message),
        "su" => su(message),
        "useradd" | "adduser" | "userdel" | "usermod" | "groupadd" | "groupdel" | "passwd" | "chpasswd" | "chage" => account(message),
        "ftpd" | "vsftpd" | "klogind" | "login" | "-- root" | "--" | "systemd-logind" => login_daemon(message),
        _ => None,
    };
    found.or_else(|| ssh(message)).or_else(|| pam(message)).unwrap_or(Reading { event_type: "system.message", ..Reading::default() })
}

/// `message repeated 2 times: [ Failed password ...]`
fn repeated(message: &str) -> Option<(&str, &str)> {
    let (count, rest) = message.strip_prefix("message repeated ")?.split_once(" times: [")?;
    Some((count, rest.strip_suffix(']').unwrap_or(rest).trim()))
}

fn ssh(message: &str) -> Option<Reading<'_>> {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = message.strip_suffix(" [preauth]").unwrap_or(message);
    verdict(message, "Accepted ", true)
        .or_else(|| verdict(message, "Failed ", false))
        .or_else(|| invalid_user(message))
        .or_else(|| disconnect(message))
        .or_else(|| probe(message))
}

/// `Accepted password for U from A port P ssh2`, `Failed none for invalid user U from A port P ssh2`
fn verdict<'b>(message: &'b str, prefix: &str, success: bool) -> Option<Reading<'b>> {
    let (method, rest) = message.strip_prefix(prefix)?.split_once(" for ")?;
    let (user, rest) = rest.rsplit_once(" from ")?;
    let user = user.strip_prefix("invalid user ").unwrap_or(user);
    let (source, source_port) = address(rest);
    Some(Reading { event_type: "auth.login", action: method, user, source, source_port, success: Some(success), ..Reading::default() })
}

/// `Invalid user U from A`, `Invalid user U from A port P`, `input_userauth_request: invalid user U`
fn invalid_user(message: &str) -> Option<Reading<'_>> {
    let reading = Reading { event_type: "auth.invalid_user", success: Some(false), ..Reading::default() };
    if let Some(user) = message.strip_prefix("input_userauth_request: invalid user ") {
        return Some(Reading { user, ..reading });
    }
    let (user, rest) = message.strip_prefix("Invalid user ")?.rsplit_once("from ")?;
    let (source, source_port) = address(rest);
    Some(Reading { user: user.trim_end(), source, source_port, ..reading })
}

/// The ends of connections, with or without a user in front of the address.
fn disconnect(message: &str) -> Option<Reading<'_>> {
    let reading = Reading { event_type: "auth.disconnect", ..Reading::default() };
    if let Some(rest) = message.strip_prefix("maximum authentication attempts exceeded for ") {
        let (user, rest) = rest.rsplit_once(" from ")?;
        let user = user.strip_prefix("invalid user ").unwrap_or(user);
        let (source, source_port) = address(rest);
        return Some(Reading { action: "too_many_attempts", user, source, source_port, success: Some(false), ..reading });
    }
    if message.starts_with("Disconnecting: Too many authentication failures") {
        let user = message.split_once(" for ").map_or("", |(_, user)| user);
        return Some(Reading { action: "too_many_attempts", user, success: Some(false), ..reading });
    }
    let prefixes = [
        ("Received disconnect from ", "disconnect"),
        ("Disconnected from ", "disconnect"),
        ("Connection closed by ", "close"),
        ("Connection reset by ", "reset"),
    ];
    let (rest, action) = prefixes.iter().find_map(|(prefix, action)| Some((message.strip_prefix(prefix)?, *action)))?;
    let (user, rest) = disconnected_user(rest);
    let (source, source_port) = address(rest);
    Some(Reading { action, user, source, source_port, ..reading })
}

/// `authenticating user U A port P`: the address begins at the third word from the end.
fn disconnected_user(rest: &str) -> (&str, &str) {
    for prefix in ["authenticating user ", "invalid user ", "user "] {
        let Some(named) = rest.strip_prefix(prefix) else { continue };
        let Some((before_port, _)) = named.rsplit_once(" port ") else { return (named, "") };
        let Some((user, source)) = before_port.rsplit_once(' ') else { return ("", named) };
        return (user, &named[before_port.len() - source.len()..]);
    }
    ("", rest)
}

fn probe(message: &str) -> Option<Reading<'_>> {
    let reading = Reading { event_type: "auth.probe", success: Some(false), ..Reading::default() };
    if let Some(rest) = message.strip_prefix("Did not receive identification string from ") {
        let (source, source_port) = address(rest);
        return Some(Reading { action: "no_identification", source, source_port, ..reading });
    }
    if message.starts_with("Bad protocol version identification") {
        let (source, source_port) = address(message.rsplit_once(" from ")?.1);
        return Some(Reading { action: "bad_protocol", source, source_port, ..reading });
    }
    let rest = message.strip_prefix("reverse mapping checking getaddrinfo for ")?;
    let (resource, rest) = rest.split_once(" [")?;
    Some(Reading { action: "reverse_mapping_failed", source: rest.split_once(']')?.0, resource, ..reading })
}

/// PAM in both shapes: `pam_unix(sshd:auth): authentication failure; ...` and, behind the tag `sshd(pam_unix)`, without the prefix.
fn pam(message: &str) -> Option<Reading<'_>> {
    let message = match message.split_once("): ") {
        Some((module, rest)) if module.starts_with("pam_") => rest,
        _ => message,
    };
    if message.starts_with("authentication failure;") || message.contains("more authentication failure") {
        let repeated = message.strip_prefix("PAM ").and_then(|rest| rest.split_once(' ')).map_or("", |(count, _)| count);
        let (user, source) = (assigned(message, "user="), assigned(message, "rhost="));
        let reading = Reading { event_type: "auth.login", action: "pam", user, source, ..Reading::default() };
        return Some(Reading { success: Some(false), repeated, ..reading });
    }
    if let Some(rest) = message.strip_prefix("session opened for user ") {
        let user = rest.split([' ', '(']).next().unwrap_or_default();
        return Some(Reading { event_type: "auth.session", action: "open", user, success: Some(true), ..Reading::default() });
    }
    if let Some(user) = message.strip_prefix("session closed for user ") {
        let user = user.trim_end();
        return Some(Reading { event_type: "auth.logout", action: "close", user, success: Some(true), ..Reading::default() });
    }
    account(message)
}

/// The value of `name=value`, where the name starts a word: `user=` is not part of `ruser=`.
fn assigned<'b>(message: &'b str, name: &str) -> &'b str {
    message.split([' ', ';']).find_map(|word| word.strip_prefix(name)).unwrap_or_default()
}

/// `  ubuntu : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/su`, with a complaint in front of `TTY` where it was refused.
fn sudo(message: &str) -> Option<Reading<'_>> {
    let (user, rest) = message.split_once(" : ")?;
    let command = rest.split_once("COMMAND=").map_or("", |(_, command)| command);
    let success = rest.starts_with("TTY=") || rest.starts_with("PWD=");
    let action = if success { "run" } else { rest.split(" ; ").next().unwrap_or_default() };
    Some(Reading { event_type: "auth.sudo", action, user, resource: command, success: Some(success), ..Reading::default() })
}

/// `Successful su for root by ubuntu`, `FAILED su for root by ubuntu`
fn su(message: &str) -> Option<Reading<'_>> {
    let (success, rest) = match message.strip_prefix("Successful su for ") {
        Some(rest) => (true, rest),
        None => (false, message.strip_prefix("FAILED su for ")?),
    };
    let (resource, user) = rest.rsplit_once(" by ")?;
    Some(Reading { event_type: "auth.su", action: "su", user, resource, success: Some(success), ..Reading::default() })
}

/// User and group tools. The resource is the account that changes.
fn account(message: &str) -> Option<Reading<'_>> {
    let reading = Reading { event_type: "auth.account", success: Some(true), ..Reading::default() };
    let named = |rest: &'_ str| rest.find([',', ' ']).unwrap_or(rest.len());
    for (prefix, action) in [("new user: name=", "user_added"), ("new group: name=", "group_added")] {
        if let Some(rest) = message.strip_prefix(prefix) {
            return Some(Reading { action, resource: &rest[..named(rest)], ..reading });
        }
    }
    if let Some((_, resource)) = message.split_once("password changed for ") {
        return Some(Reading { action: "password_changed", resource, ..reading });
    }
    let quoted = message.split('\'').nth(1).unwrap_or_default();
    let failed = message.starts_with("failed ") || message.starts_with("cannot ");
    let actions = [
        ("adding user", "user_added"),
        ("failed adding user", "user_added"),
        ("delete user", "user_removed"),
        ("remove group", "group_removed"),
        ("removed group", "group_removed"),
        ("add ", "group_joined"),
        ("change user", "user_changed"),
        ("lock user", "user_locked"),
        ("unlock user", "user_unlocked"),
    ];
    let action = actions.iter().find(|(prefix, _)| message.starts_with(prefix)).filter(|_| !quoted.is_empty())?.1;
    Some(Reading { action, resource: quoted, success: Some(!failed), ..reading })
}

fn login_daemon(message: &str) -> Option<Reading<'_>> {
    let login = Reading { event_type: "auth.login", ..Reading::default() };
    if let Some(rest) = message.strip_prefix("connection from ") {
        let source = rest.split(' ').next().unwrap_or_default();
        return Some(Reading { event_type: "network.connection", action: "connect", source, ..login });
    }
    if let Some(rest) = message.strip_prefix("ANONYMOUS FTP LOGIN FROM ") {
        let source = rest.split([',', ' ']).next().unwrap_or_default();
        return Some(Reading { action: "anonymous", user: "anonymous", source, success: Some(true), ..login });
    }
    if let Some(rest) = message.strip_prefix("Authentication failed from ") {
        let source = rest.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(address, _)| address);
        let source = if source.is_empty() { rest.split([' ', ':']).next().unwrap_or_default() } else { source };
        return Some(Reading { action: "kerberos", source, success: Some(false), ..login });
    }
    if message.starts_with("ROOT LOGIN ON ") {
        return Some(Reading { action: "console", user: "root", success: Some(true), ..login });
    }
    let (_, user) = message.strip_prefix("New session ")?.split_once(" of user ")?;
    let user = user.trim_end_matches('.');
    Some(Reading { event_type: "auth.session", action: "open", user, success: Some(true), ..login })
}

/// `A`, `A port P ...`, `A:11: reason`, `A: 11: reason`, `A port P:11: reason`
fn address(text: &str) -> (&str, &str) {
    let (source, rest) = text.trim_start().split_once(' ').unwrap_or((text.trim(), ""));
    let port = rest.strip_prefix("port ").map_or("", |rest| rest.split([' ', ':']).next().unwrap_or_default());
    let source = source.trim_end_matches(':');
    if source.parse::<IpAddr>().is_ok() {
        return (source, port);
    }
    match source.split_once(':') {
        Some((v4, _)) if v4.parse::<IpAddr>().is_ok() => (v4, port),
        _ => (source, port),
    }
}
