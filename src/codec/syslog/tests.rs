//! Headers and messages as daemons write them, as tables.

use bumpalo::Bump;

use super::auth::{Reading, understand};
use super::*;
use crate::core::event::RawEvent;

fn head(line: &str) -> Option<Header<'_>> {
    header(line)
}

#[test]
fn headers() {
    let check = |line: &str, priority: Option<u8>, words: [&str; 5]| {
        let found = head(line).unwrap_or_else(|| panic!("a header: {line}"));
        assert_eq!((found.priority, [found.timestamp, found.host, found.app, found.pid, found.message]), (priority, words), "{line}");
    };
    check("<34>Oct 11 22:14:15 mymachine su: 'su root' failed", Some(34), ["Oct 11 22:14:15", "mymachine", "su", "", "'su root' failed"]);
    check("Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user x", None, ["Dec 10 06:55:46", "LabSZ", "sshd", "24200", "Invalid user x"]);
    check("Jun  4 15:16:01 combo sshd(pam_unix)[19]: check", None, ["Jun  4 15:16:01", "combo", "sshd", "19", "check"]);
    check("Jul  1 00:00:00 combo syslogd 1.4.1: restart.", None, ["Jul  1 00:00:00", "combo", "syslogd", "", "restart."]);
    check("<13>Feb 25 2024 14:09:07.5 h a: m", Some(13), ["Feb 25 2024 14:09:07.5", "h", "a", "", "m"]);
    check("2024-01-02T03:04:05.1+00:00 h sudo:   bob : TTY=x", None, ["2024-01-02T03:04:05.1+00:00", "h", "sudo", "", "bob : TTY=x"]);
    check("<165>1 2003-10-11T22:14:15.003Z host app 12 ID47 - hi", Some(165), ["2003-10-11T22:14:15.003Z", "host", "app", "12", "hi"]);
    check("<1>1 - - - - - [a b=\"]\\\"\"][c] \u{feff}text", Some(1), ["", "", "", "", "text"]);
    check("<0>anything at all", Some(0), ["", "", "", "", "anything at all"]);
    check("Dec 10 06:55:46", None, ["Dec 10 06:55:46", "", "", "", ""]);
    for line in
        ["", "hello", "<192>x", "<>x", "<1", "Dec x 06:55:46 h", "Dec 10 065546 h", "2024 x", "10.0.0.1 - - [17/May/2015]", "{\"a\":1}"]
    {
        assert_eq!(head(line), None, "{line}");
    }
}

#[test]
fn messages() {
    let check = |app: &str, message: &str, expected: [&str; 6], success: Option<bool>| {
        let Reading { event_type, action, user, source, source_port, resource, success: found, .. } = understand(app, message);
        assert_eq!(([event_type, action, user, source, source_port, resource], found), (expected, success), "{message}");
    };
    let (yes, no) = (Some(true), Some(false));
    check("sshd", "Accepted password for bob from 10.0.0.1 port 22 ssh2", ["auth.login", "password", "bob", "10.0.0.1", "22", ""], yes);
    check("sshd", "Accepted publickey for bob from ::1 port 9 ssh2: RSA SHA256:x", ["auth.login", "publickey", "bob", "::1", "9", ""], yes);
    check("sshd", "Failed password for root from 1.2.3.4 port 5 ssh2", ["auth.login", "password", "root", "1.2.3.4", "5", ""], no);
    check("sshd", "Failed none for invalid user  from 1.2.3.4 port 5 ssh2", ["auth.login", "none", "", "1.2.3.4", "5", ""], no);
    // A name that imitates the rest of the line does not get to choose the address.
    check(
        "sshd",
        "Failed password for invalid user root from 9.9.9.9 port 1 ssh2 from 1.2.3.4 port 5 ssh2",
        ["auth.login", "password", "root from 9.9.9.9 port 1 ssh2", "1.2.3.4", "5", ""],
        no,
    );
    let repeated = "message repeated 2 times: [ Failed password for root from 1.2.3.4 port 5 ssh2]";
    check("sshd", repeated, ["auth.login", "password", "root", "1.2.3.4", "5", ""], no);
    assert_eq!(understand("sshd", repeated).repeated, "2");
    check("sshd", "Invalid user admin from 1.2.3.4", ["auth.invalid_user", "", "admin", "1.2.3.4", "", ""], no);
    check("sshd", "Invalid user  from 1.2.3.4 port 7", ["auth.invalid_user", "", "", "1.2.3.4", "7", ""], no);
    check("sshd", "input_userauth_request: invalid user x [preauth]", ["auth.invalid_user", "", "x", "", "", ""], no);
    check("sshd", "Connection closed by 1.2.3.4 port 5 [preauth]", ["auth.disconnect", "close", "", "1.2.3.4", "5", ""], None);
    let by_user = "Connection closed by authenticating user root 1.2.3.4 port 5 [preauth]";
    check("sshd", by_user, ["auth.disconnect", "close", "root", "1.2.3.4", "5", ""], None);
    check("sshd", "Disconnected from user bob 1.2.3.4 port 5", ["auth.disconnect", "disconnect", "bob", "1.2.3.4", "5", ""], None);
    check(
        "sshd",
        "Received disconnect from 1.2.3.4: 11: Bye Bye [preauth]",
        ["auth.disconnect", "disconnect", "", "1.2.3.4", "", ""],
        None,
    );
    check("sshd", "Received disconnect from 1.2.3.4 port 5:11: Bye", ["auth.disconnect", "disconnect", "", "1.2.3.4", "5", ""], None);
    let many = "error: maximum authentication attempts exceeded for invalid user x from 1.2.3.4 port 5 ssh2 [preauth]";
    check("sshd", many, ["auth.disconnect", "too_many_attempts", "x", "1.2.3.4", "5", ""], no);
    check("sshd", "Did not receive identification string from 1.2.3.4", ["auth.probe", "no_identification", "", "1.2.3.4", "", ""], no);
    let mapping = "reverse mapping checking getaddrinfo for h.example [1.2.3.4] failed - POSSIBLE BREAK-IN ATTEMPT!";
    check("sshd", mapping, ["auth.probe", "reverse_mapping_failed", "", "1.2.3.4", "", "h.example"], no);
    let pam = "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=1.2.3.4  user=root";
    check("sshd", pam, ["auth.login", "pam", "root", "1.2.3.4", "", ""], no);
    let old_pam = "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser=x rhost=h.example ";
    check("sshd", old_pam, ["auth.login", "pam", "", "h.example", "", ""], no);
    let more = "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=1.2.3.4  user=root";
    check("sshd", more, ["auth.login", "pam", "root", "1.2.3.4", "", ""], no);
    assert_eq!(understand("sshd", more).repeated, "2");
    check("CRON", "pam_unix(cron:session): session opened for user root by (uid=0)", ["auth.session", "open", "root", "", "", ""], yes);
    check("su", "session closed for user news", ["auth.logout", "close", "news", "", "", ""], yes);
    check("sudo", "ubuntu : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/su -", ["auth.sudo", "run", "ubuntu", "", "", "/bin/su -"], yes);
    let refused = "bob : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls";
    check("sudo", refused, ["auth.sudo", "3 incorrect password attempts", "bob", "", "", "/bin/ls"], no);
    check("su", "Successful su for root by bob", ["auth.su", "su", "bob", "", "", "root"], yes);
    check("su", "FAILED su for root by bob", ["auth.su", "su", "bob", "", "", "root"], no);
    check("useradd", "new user: name=eve, UID=1, GID=1", ["auth.account", "user_added", "", "", "", "eve"], yes);
    check("useradd", "failed adding user 'eve', data deleted", ["auth.account", "user_added", "", "", "", "eve"], no);
    check("usermod", "add 'eve' to group 'sudo'", ["auth.account", "group_joined", "", "", "", "eve"], yes);
    check("passwd", "pam_unix(passwd:chauthtok): password changed for eve", ["auth.account", "password_changed", "", "", "", "eve"], yes);
    check("systemd-logind", "New session 5 of user bob.", ["auth.session", "open", "bob", "", "", ""], yes);
    check("ftpd", "connection from 1.2.3.4 () at Sun Jul 1", ["network.connection", "connect", "", "1.2.3.4", "", ""], None);
    check("ftpd", "ANONYMOUS FTP LOGIN FROM 1.2.3.4,  (anonymous)", ["auth.login", "anonymous", "anonymous", "1.2.3.4", "", ""], yes);
    check("klogind", "Authentication failed from h (1.2.3.4): denied", ["auth.login", "kerberos", "", "1.2.3.4", "", ""], no);
    for other in ["", "Server listening on :: port 22.", "check pass; user unknown", "Accepted", "Failed password", "Connection closed by"]
    {
        check("sshd", other, ["system.message", "", "", "", "", ""], None);
    }
}

#[test]
fn a_line_becomes_an_event() {
    let arena = Bump::new();
    let mut raw = RawEvent::default();
    let line = b"<38>Dec 10 06:55:46 LabSZ sshd[24200]: Failed password for b\xF6b from 173.234.31.186 port 38926 ssh2";
    Syslog.decode(line, &arena, &mut raw).unwrap();
    assert!(raw.repairs.has(Repair::InvalidUtf8));
    let text = |id| super::super::text_of(raw.get(id)).unwrap_or_default();
    assert_eq!([text(FieldId::EventType), text(FieldId::SourceIp), text(FieldId::Outcome)], ["auth.login", "173.234.31.186", "failure"]);
    assert_eq!([text(FieldId::UserId), text(FieldId::DeviceId), text(FieldId::Protocol)], ["b\u{fffd}b", "LabSZ", "ssh"]);
    let extra: std::collections::BTreeMap<&str, &str> = raw.extra.iter().copied().collect();
    assert_eq!((extra["facility"], extra["severity"], extra["source_port"]), ("\"auth\"", "\"info\"", "\"38926\""));
    assert_eq!(Syslog.decode(b"no header", &arena, &mut raw).unwrap_err().reason, RejectReason::Malformed);
    assert_eq!(Syslog.decode(b" \0\n", &arena, &mut raw).unwrap_err().reason, RejectReason::Empty);
}
