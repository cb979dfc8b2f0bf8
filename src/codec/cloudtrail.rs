//! The `cloudtrail` codec: one AWS CloudTrail event. A file of `{"Records": [...]}` is split by [`super::frame`] before it gets here.
//!
//! Also reads an event inside `event` or `detail` (EventBridge and test-suite wrappers) and a `Records` list of exactly one.
//! The user is `userName`, else the role that issued the session, else the end of the ARN, else the principal. `sourceIPAddress` that
//! names a service (`ec2.amazonaws.com`, `AWS Internal`) is no address and stays in `extra`.

use bumpalo::Bump;

use super::json::{Elements, Member, Members};
use super::{Codec, DecodeError, Extra, claim, outcome_text, text_of};
use crate::core::event::{Field, FieldId, RawEvent, RejectReason};

#[derive(Clone, Copy, Debug, Default)]
pub struct CloudTrail;

#[derive(Default)]
struct Parts<'b> {
    error: bool,
    failed_login: Option<bool>,
    kind: &'b str,
    name: &'b str,
    service: &'b str,
    resource_arn: Option<&'b str>,
    request_resource: Option<(usize, &'b str)>,
    user_name: Option<&'b str>,
    issuer_name: Option<&'b str>,
    arn: Option<&'b str>,
    principal: Option<&'b str>,
    identity_kind: Option<&'b str>,
    invoked_by: Option<&'b str>,
    seen: u64,
}

/// Members of `requestParameters` that name what a call is about, the most telling first.
const RESOURCE_PARAMETERS: [&str; 16] = [
    "secretId",
    "bucketName",
    "functionName",
    "instanceId",
    "roleName",
    "userName",
    "groupName",
    "groupId",
    "roleArn",
    "keyId",
    "trailName",
    "snapshotId",
    "dBInstanceIdentifier",
    "policyArn",
    "name",
    "documentName",
];

impl Codec for CloudTrail {
    fn name(&self) -> &'static str {
        "cloudtrail"
    }

    fn decode<'b>(&self, payload: &'b [u8], arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
        let mut extra = Extra::new(arena);
        let mut parts = Parts::default();
        let mut wrapped = None;
        let mut members = Members::document(payload, arena)?;
        while let Some(member) = members.next(arena)? {
            match (member.name, member.value) {
                ("event" | "detail" | "Records", Field::Nested(_)) if wrapped.is_some() => return Err(DecodeError::duplicate(member.name)),
                ("event" | "detail" | "Records", Field::Nested(text)) => wrapped = Some((member, text)),
                _ => read(&member, &mut parts, arena, &mut extra, out)?,
            }
        }
        if let Some((member, text)) = wrapped {
            if parts.name.is_empty() {
                let mut inner = unwrap(text, arena)?;
                while let Some(member) = inner.next(arena)? {
                    read(&member, &mut parts, arena, &mut extra, out)?;
                }
            } else {
                extra.push(member.name, member.raw);
            }
        }
        if parts.name.is_empty() && parts.service.is_empty() {
            return Err(DecodeError::new(RejectReason::NotAnEvent, "neither eventName nor eventSource"));
        }
        extra.finish(out);
        assemble(&parts, out);
        Ok(())
    }
}

/// The members of the event inside a wrapper.
fn unwrap<'b>(text: &'b str, arena: &'b Bump) -> Result<Members<'b>, DecodeError> {
    let not_one = || DecodeError::new(RejectReason::NotAnEvent, "expected exactly one event in the record");
    if let Some(members) = Members::nested(text) {
        return Ok(members);
    }
    let mut elements = Elements::nested(text).ok_or_else(not_one)?;
    match (elements.next_value(arena), elements.next_value(arena)) {
        (Some(Field::Nested(event)), None) => Members::nested(event).ok_or_else(not_one),
        _ => Err(not_one()),
    }
}

fn read<'b>(
    member: &Member<'b>,
    parts: &mut Parts<'b>,
    arena: &'b Bump,
    extra: &mut Extra<'b>,
    out: &mut RawEvent<'b>,
) -> Result<(), DecodeError> {
    let text = text_of(member.value);
    let slot = match member.name {
        "eventTime" => 0,
        "sourceIPAddress" => 1,
        "eventName" => 2,
        "userAgent" => 3,
        "eventSource" => 4,
        "eventType" => 5,
        "errorCode" => 6,
        "userIdentity" => 7,
        "requestParameters" => 8,
        "responseElements" => 9,
        "resources" => 10,
        _ => {
            extra.push(member.name, member.raw);
            return Ok(());
        }
    };
    if !claim(&mut parts.seen, slot) {
        return Err(DecodeError::duplicate(member.name));
    }
    match slot {
        0 => out.set(FieldId::Timestamp, member.value),
        1 if text.is_none_or(looks_like_address) => out.set(FieldId::SourceIp, member.value),
        2 => {
            parts.name = text.unwrap_or_default();
            out.set(FieldId::Action, member.value);
        }
        3 => out.set(FieldId::UserAgent, member.value),
        _ => {
            extra.push(member.name, member.raw);
            match slot {
                4 => parts.service = text.unwrap_or_default(),
                5 => parts.kind = text.unwrap_or_default(),
                6 => parts.error = text.is_some(),
                7 => identity(member.value, parts, arena, out)?,
                8 => request(member.value, parts, arena)?,
                9 => response(member.value, parts, arena)?,
                10 => parts.resource_arn = first_arn(member.value, arena),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Digits and separators only: something that means to be an address, valid or not. Names have letters beyond `f`, or no dot or colon.
fn looks_like_address(text: &str) -> bool {
    let address_byte = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'%');
    text.bytes().all(address_byte) && text.contains(['.', ':'])
}

fn nested(value: Field<'_>) -> Option<Members<'_>> {
    match value {
        Field::Nested(text) => Members::nested(text),
        _ => None,
    }
}

fn identity<'b>(value: Field<'b>, parts: &mut Parts<'b>, arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
    let Some(mut members) = nested(value) else { return Ok(()) };
    let mut seen = 0;
    while let Some(part) = members.next(arena)? {
        let text = text_of(part.value);
        let slot = match part.name {
            "userName" => 0,
            "arn" => 1,
            "principalId" => 2,
            "type" => 3,
            "invokedBy" => 4,
            "accessKeyId" => 5,
            "sessionContext" => 6,
            _ => continue,
        };
        if !claim(&mut seen, slot) {
            return Err(DecodeError::duplicate(part.name));
        }
        match slot {
            0 => parts.user_name = text,
            1 => parts.arn = text,
            2 => parts.principal = text,
            3 => parts.identity_kind = text,
            4 => parts.invoked_by = text,
            5 => out.set(FieldId::SessionId, part.value),
            _ => parts.issuer_name = session_issuer(part.value, arena)?,
        }
    }
    Ok(())
}

fn session_issuer<'b>(value: Field<'b>, arena: &'b Bump) -> Result<Option<&'b str>, DecodeError> {
    let Some(mut members) = nested(value) else { return Ok(None) };
    while let Some(part) = members.next(arena)? {
        let ("sessionIssuer", Some(mut issuer)) = (part.name, nested(part.value)) else { continue };
        while let Some(part) = issuer.next(arena)? {
            if part.name == "userName" {
                return Ok(text_of(part.value));
            }
        }
    }
    Ok(None)
}

fn request<'b>(value: Field<'b>, parts: &mut Parts<'b>, arena: &'b Bump) -> Result<(), DecodeError> {
    let Some(mut members) = nested(value) else { return Ok(()) };
    while let Some(part) = members.next(arena)? {
        let rank = RESOURCE_PARAMETERS.iter().position(|name| *name == part.name);
        if let (Some(rank), Some(text)) = (rank, text_of(part.value))
            && parts.request_resource.is_none_or(|(best, _)| rank < best)
        {
            parts.request_resource = Some((rank, text));
        }
    }
    Ok(())
}

fn response<'b>(value: Field<'b>, parts: &mut Parts<'b>, arena: &'b Bump) -> Result<(), DecodeError> {
    let Some(mut members) = nested(value) else { return Ok(()) };
    while let Some(part) = members.next(arena)? {
        if part.name == "ConsoleLogin" {
            parts.failed_login = text_of(part.value).map(|text| text != "Success");
        }
    }
    Ok(())
}

fn first_arn<'b>(value: Field<'b>, arena: &'b Bump) -> Option<&'b str> {
    let Field::Nested(text) = value else { return None };
    let Some(Field::Nested(first)) = Elements::nested(text)?.next_value(arena) else { return None };
    let mut members = Members::nested(first)?;
    while let Ok(Some(part)) = members.next(arena) {
        if matches!(part.name, "ARN" | "arn") {
            return text_of(part.value);
        }
    }
    None
}

fn assemble<'b>(parts: &Parts<'b>, out: &mut RawEvent<'b>) {
    let event_type = match (parts.name, parts.kind) {
        ("ConsoleLogin", _) => "auth.login",
        (_, "AwsServiceEvent") => "cloud.service_event",
        (_, "AwsConsoleAction") => "cloud.console_action",
        (_, "AwsConsoleSignIn") => "cloud.console_sign_in",
        (_, "AwsCloudTrailInsight") => "cloud.insight",
        _ => "cloud.api_call",
    };
    out.set(FieldId::EventType, Field::Text(event_type));
    let failed = parts.failed_login.unwrap_or(parts.error);
    out.set(FieldId::Outcome, outcome_text(!failed));
    let root = parts.identity_kind.filter(|kind| *kind == "Root").map(|_| "root");
    let arn_end = parts.arn.and_then(|arn| arn.rsplit(['/', ':']).next());
    let user = parts.user_name.or(parts.issuer_name).or(root).or(arn_end).or(parts.principal).or(parts.invoked_by);
    out.set(FieldId::UserId, user.map_or(Field::Missing, Field::Text));
    let resource = parts.resource_arn.or(parts.request_resource.map(|(_, text)| text)).unwrap_or(parts.service);
    out.set(FieldId::Resource, Field::Text(resource));
}
