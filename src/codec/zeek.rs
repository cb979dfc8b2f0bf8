//! The `zeek` codec: one row of any Zeek log as a JSON object. TSV rows become such objects in [`super::frame`].
//!
//! | log | event type | resource | action | outcome |
//! |---|---|---|---|---|
//! | conn | `network.connection` | - | service | by `conn_state` |
//! | dns | `dns.query` | query | query type | by `rcode` |
//! | http | `http.request` | host and uri | method | by status |
//! | ssh | `ssh.session` | - | - | `auth_success` |
//! | ssl | `tls.session` | server name | - | `established` |
//! | any other | `zeek.<log>` | the first present of a list | the same | the same |
//!
//! The log is named by `_path` (also Security Onion's `@stream`), else guessed from its fields; `zeek.unknown` where nothing tells.
//! Names are read dotted (`id.orig_h`), with an underscore (`id_orig_h`) and nested (`id: {orig_h}`).

use bumpalo::Bump;

use super::json::{Elements, Members};
use super::{Codec, DecodeError, Extra, as_text, claim, count_of, http_outcome, join_in, outcome_text, sum_of, text_of};
use crate::core::event::{Field, FieldId, RawEvent};

#[derive(Clone, Copy, Debug, Default)]
pub struct Zeek;

/// The columns that the codec reads. Those up to `LAST_MOVED` become one event field as they are; the others stay in `extra` too.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Column {
    Ts,
    OrigHost,
    RespHost,
    RespPort,
    Proto,
    Uid,
    UserAgent,
    Path,
    Service,
    Duration,
    OrigBytes,
    RespBytes,
    OrigPackets,
    RespPackets,
    ConnState,
    Query,
    QueryType,
    Rcode,
    Rtt,
    Method,
    Host,
    Uri,
    StatusCode,
    RequestLength,
    ResponseLength,
    User,
    AuthSuccess,
    AuthAttempts,
    Success,
    ServerName,
    Established,
    Cipher,
    Client,
    Server,
    Note,
    Name,
    Notice,
    Action,
    Command,
    Operation,
    Endpoint,
    Argument,
    SharePath,
    Filename,
    FileId,
    MimeType,
    Md5,
    Sha1,
    Sha256,
    SeenBytes,
    TotalBytes,
    Senders,
    Receivers,
    Source,
    Destination,
    Port,
    ReplyCode,
    Result,
    SoftwareType,
    SecurityProtocol,
}

const COLUMNS: usize = Column::SecurityProtocol as usize + 1;
const LAST_MOVED: Column = Column::UserAgent;
const _: () = assert!(COLUMNS <= 64, "the seen columns have to fit one word");

#[inline]
fn column(name: &str) -> Option<Column> {
    use Column::*;
    Some(match name {
        "ts" => Ts,
        "id.orig_h" | "id_orig_h" => OrigHost,
        "id.resp_h" | "id_resp_h" => RespHost,
        "id.resp_p" | "id_resp_p" => RespPort,
        "proto" | "port_proto" => Proto,
        "uid" => Uid,
        "user_agent" => UserAgent,
        "_path" | "@stream" => Path,
        "service" => Service,
        "duration" => Duration,
        "orig_bytes" => OrigBytes,
        "resp_bytes" => RespBytes,
        "orig_pkts" => OrigPackets,
        "resp_pkts" => RespPackets,
        "conn_state" => ConnState,
        "query" => Query,
        "qtype_name" => QueryType,
        "rcode" => Rcode,
        "rtt" => Rtt,
        "method" | "request_type" => Method,
        "host" => Host,
        "uri" => Uri,
        "status_code" => StatusCode,
        "request_body_len" => RequestLength,
        "response_body_len" => ResponseLength,
        "user" | "username" => User,
        "auth_success" => AuthSuccess,
        "auth_attempts" => AuthAttempts,
        "success" => Success,
        "server_name" => ServerName,
        "established" => Established,
        "cipher" => Cipher,
        "client" => Client,
        "server" => Server,
        "note" => Note,
        "name" => Name,
        "notice" => Notice,
        "action" => Action,
        "command" => Command,
        "operation" => Operation,
        "endpoint" => Endpoint,
        "arg" => Argument,
        "path" => SharePath,
        "filename" => Filename,
        "fuid" => FileId,
        "mime_type" => MimeType,
        "md5" => Md5,
        "sha1" => Sha1,
        "sha256" => Sha256,
        "seen_bytes" => SeenBytes,
        "total_bytes" => TotalBytes,
        "tx_hosts" => Senders,
        "rx_hosts" => Receivers,
        "src" => Source,
        "dst" => Destination,
        "p" | "port_num" | "host_p" => Port,
        "reply_code" => ReplyCode,
        "result" => Result,
        "software_type" => SoftwareType,
        "security_protocol" => SecurityProtocol,
        _ => return None,
    })
}

struct Row<'b> {
    columns: [Field<'b>; COLUMNS],
    seen: u64,
}

impl<'b> Row<'b> {
    #[inline]
    fn get(&self, column: Column) -> Field<'b> {
        self.columns[column as usize]
    }

    fn has(&self, column: Column) -> bool {
        self.get(column) != Field::Missing
    }

    fn text(&self, column: Column) -> Option<&'b str> {
        text_of(self.get(column))
    }

    /// The first of some columns that holds a scalar.
    fn first(&self, columns: &[Column]) -> Field<'b> {
        let scalar = |field: &Field<'_>| !matches!(field, Field::Missing | Field::Nested(_) | Field::Text(""));
        columns.iter().map(|column| self.get(*column)).find(scalar).unwrap_or_default()
    }

    /// Where a column's value goes.
    fn slot(&mut self, column: Column, name: &str) -> Result<&mut Field<'b>, DecodeError> {
        if !claim(&mut self.seen, column as usize) {
            return Err(DecodeError::duplicate(name));
        }
        Ok(&mut self.columns[column as usize])
    }
}

impl Codec for Zeek {
    fn name(&self) -> &'static str {
        "zeek"
    }

    fn decode<'b>(&self, payload: &'b [u8], arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
        let mut row = Row { columns: [Field::Missing; COLUMNS], seen: 0 };
        let mut extra = Extra::new(arena);
        let mut members = Members::document(payload, arena)?;
        while let Some(name) = members.next_name(arena)? {
            match column(name) {
                Some(column) if (column as u8) <= LAST_MOVED as u8 => {
                    members.value_into(arena, row.slot(column, name)?)?;
                }
                Some(column) => {
                    let slot = row.slot(column, name)?;
                    extra.push(name, members.value_and_raw(arena, slot)?);
                }
                None => {
                    let raw = members.raw()?;
                    if name == "id" {
                        connection_id(&mut row, raw, arena)?;
                    }
                    extra.push(name, raw);
                }
            }
        }
        extra.finish(out);
        assemble(&row, arena, out);
        Ok(())
    }
}

/// `id: {orig_h, orig_p, resp_h, resp_p}`.
fn connection_id<'b>(row: &mut Row<'b>, text: &'b str, arena: &'b Bump) -> Result<(), DecodeError> {
    let Some(mut members) = Members::nested(text) else { return Ok(()) };
    while let Some(part) = members.next(arena)? {
        match part.name {
            "orig_h" => *row.slot(Column::OrigHost, "id.orig_h")? = part.value,
            "resp_h" => *row.slot(Column::RespHost, "id.resp_h")? = part.value,
            "resp_p" => *row.slot(Column::RespPort, "id.resp_p")? = part.value,
            _ => {}
        }
    }
    Ok(())
}

fn assemble<'b>(row: &Row<'b>, arena: &'b Bump, out: &mut RawEvent<'b>) {
    use Column::*;
    let path = row.text(Path).unwrap_or_else(|| guess(row));
    out.set(FieldId::Timestamp, row.get(Ts));
    out.set(FieldId::SourceIp, address(row, &[OrigHost, Source], Senders, arena));
    out.set(FieldId::DestIp, address(row, &[RespHost, Destination], Receivers, arena));
    out.set(FieldId::Port, row.first(&[RespPort, Port]));
    out.set(FieldId::Protocol, row.get(Proto));
    out.set(FieldId::SessionId, row.get(Uid));
    out.set(FieldId::UserAgent, row.get(UserAgent));
    out.set(FieldId::Duration, row.first(&[Duration, Rtt]));
    out.set(FieldId::BytesOut, row.first(&[OrigBytes, RequestLength]));
    out.set(FieldId::BytesIn, row.first(&[RespBytes, ResponseLength]));
    out.set(FieldId::BytesTransferred, transferred(row, out));
    out.set(FieldId::Packets, sum_of(row.get(OrigPackets), row.get(RespPackets)));
    out.set(FieldId::FileHash, row.first(&[Sha256, Sha1, Md5]));
    out.set(FieldId::UserId, user(row, path));
    out.set(FieldId::EventType, Field::Text(event_type(path, arena)));
    out.set(FieldId::Resource, resource(row, path, arena));
    out.set(FieldId::Action, action(row, path));
    out.set(FieldId::Outcome, outcome(row, path));
    // Inventory logs (known_hosts, known_services, software) have no connection: the host itself is the source.
    if out.get(FieldId::SourceIp) == Field::Missing && path != "http" {
        out.set(FieldId::SourceIp, row.first(&[Host]));
    }
}

/// An address column, else the first element of a set of addresses.
fn address<'b>(row: &Row<'b>, columns: &[Column], set: Column, arena: &'b Bump) -> Field<'b> {
    match (row.first(columns), row.get(set)) {
        (Field::Missing, Field::Nested(text)) => {
            Elements::nested(text).and_then(|mut elements| elements.next_value(arena)).unwrap_or_default()
        }
        (found, _) => found,
    }
}

/// The total of both directions, or a file's size. Left to the sanitizer where a direction is not a plain count.
fn transferred<'b>(row: &Row<'b>, out: &RawEvent<'b>) -> Field<'b> {
    let (outgoing, incoming) = (out.get(FieldId::BytesOut), out.get(FieldId::BytesIn));
    match sum_of(outgoing, incoming) {
        Field::Missing => row.first(&[Column::SeenBytes, Column::TotalBytes]),
        sum => sum,
    }
}

fn user<'b>(row: &Row<'b>, path: &str) -> Field<'b> {
    match (path, row.text(Column::Client)) {
        // A Kerberos principal: `user/REALM`; a service's own ticket request has no user part.
        ("kerberos", Some(principal)) => match principal.split_once('/') {
            Some((name, _)) => Field::Text(name),
            None => Field::Text(principal),
        },
        _ => as_text(row.get(Column::User)),
    }
}

fn event_type<'b>(path: &'b str, arena: &'b Bump) -> &'b str {
    match path {
        "conn" => "network.connection",
        "dns" => "dns.query",
        "http" => "http.request",
        "ssh" => "ssh.session",
        "ssl" => "tls.session",
        other => join_in(arena, "zeek.", other),
    }
}

fn resource<'b>(row: &Row<'b>, path: &str, arena: &'b Bump) -> Field<'b> {
    use Column::*;
    match path {
        "http" => {
            let (host, uri) = (row.text(Host).unwrap_or_default(), row.text(Uri).unwrap_or_default());
            Field::Text(join_in(arena, host, uri))
        }
        "smb_files" => {
            let (share, name) = (row.text(SharePath).unwrap_or_default(), row.text(Name).unwrap_or_default());
            Field::Text(join_in(arena, share, name))
        }
        "kerberos" | "known_services" => row.first(&[Service]),
        "software" => row.first(&[Name]),
        "smtp" => Field::Missing,
        _ => as_text(row.first(&[Query, ServerName, Uri, Argument, Endpoint, Filename, SharePath])),
    }
}

fn action<'b>(row: &Row<'b>, path: &str) -> Field<'b> {
    use Column::*;
    match path {
        "conn" => row.first(&[Service]),
        "weird" => row.first(&[Name]),
        "software" => row.first(&[SoftwareType]),
        _ => as_text(row.first(&[QueryType, Method, Note, Action, Command, Operation])),
    }
}

/// Success, failure, or nothing where the log does not say.
fn outcome<'b>(row: &Row<'b>, path: &str) -> Field<'b> {
    use Column::*;
    match path {
        "conn" => row.text(ConnState).map_or(Field::Missing, connection_outcome),
        "dns" => count_of(row.get(Rcode)).map_or(Field::Missing, |code| outcome_text(code == 0)),
        "ftp" | "socks" => match count_of(row.get(ReplyCode)) {
            Some(code) if code >= 100 => outcome_text(code < 400),
            _ => Field::Missing,
        },
        "rdp" => row.get(Result),
        _ => match row.first(&[AuthSuccess, Success, Established]) {
            Field::Bool(success) => outcome_text(success),
            _ => http_outcome(row.get(StatusCode)),
        },
    }
}

/// Whether a connection came about, by Zeek's connection state.
fn connection_outcome(state: &str) -> Field<'static> {
    match state {
        "SF" | "S1" | "S2" | "S3" | "RSTO" | "RSTR" => outcome_text(true),
        "S0" | "REJ" | "RSTOS0" | "RSTRH" | "SH" | "SHR" => outcome_text(false),
        _ => Field::Text("unknown"),
    }
}

/// The log that a row without a name most likely belongs to, by columns that only that log has.
fn guess(row: &Row<'_>) -> &'static str {
    use Column::*;
    let known = [
        (ConnState, "conn"),
        (QueryType, "dns"),
        (Query, "dns"),
        (AuthAttempts, "ssh"),
        (AuthSuccess, "ssh"),
        (Established, "ssl"),
        (ServerName, "ssl"),
        (Cipher, "ssl"),
        (RequestLength, "http"),
        (StatusCode, "http"),
        (Note, "notice"),
        (SoftwareType, "software"),
        (SecurityProtocol, "rdp"),
        (Endpoint, "dce_rpc"),
        (Senders, "files"),
        (MimeType, "files"),
        (Notice, "weird"),
        (Command, "ftp"),
        (Server, "ssh"),
    ];
    known.iter().find(|(column, _)| row.has(*column)).map_or("unknown", |(_, path)| path)
}
