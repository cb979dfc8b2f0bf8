//! TLS towards Redis: its files, and what is said when it does not come about.

use std::error::Error as _;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ClientTlsConfig, RedisError, TlsCertificates};

use super::RedisSettings;
use crate::error::{Error, Result};

/// How long a server that speaks in plain has to say so.
const PLAIN_ANSWER: Duration = Duration::from_secs(1);

/// The files that are named, if any. `Config`: one cannot be read, or one is missing.
pub(super) fn certificates(settings: &RedisSettings) -> Result<Option<TlsCertificates>> {
    let read = |what: &str, path: &Path| {
        std::fs::read(path).map_err(|error| Error::config(format!("cannot read the Redis {what} file {}", path.display())).because(error))
    };
    let root_cert = settings.ca.as_deref().map(|path| read("CA", path)).transpose()?;
    let client_tls = match (&settings.certificate, &settings.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read("certificate", certificate)?, client_key: read("key", key)? })
        }
        _ => return Err(Error::config("redis_tls: `certificate` and `key` belong together")),
    };
    Ok((root_cert.is_some() || client_tls.is_some()).then_some(TlsCertificates { client_tls, root_cert }))
}

/// The system's error behind this one, which the client shares among its copies.
pub(super) fn io_error(error: &RedisError) -> Option<&io::Error> {
    error.source()?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?.downcast_ref::<io::Error>()
}

/// What is wrong between the server and us, where it is TLS, and what to change.
pub(super) fn explain(error: &RedisError, address: &str) -> Option<String> {
    let inner = io_error(error)?.get_ref()?.downcast_ref::<rustls::Error>()?;
    let advice = match inner {
        rustls::Error::InvalidCertificate(_) => {
            "its certificate is not trusted; name the PEM file of the authority that signed it by redis_tls.ca, and the server as its \
             certificate does"
        }
        rustls::Error::AlertReceived(_) => "it refuses us; check whether it wants `certificate` and `key` under redis_tls, and which",
        rustls::Error::InvalidMessage(_) => "it answers something else; check that the port is that of TLS, or write redis:// for none",
        _ => return None,
    };
    Some(format!("no TLS with Redis at {address}: {advice}: {inner}"))
}

/// Whether somebody who says nothing to a client with TLS answers one without. No password is told.
pub(super) fn is_plain(host: &str, port: u16) -> bool {
    let ask = || -> io::Result<u8> {
        let address = (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&address, PLAIN_ANSWER)?;
        stream.set_read_timeout(Some(PLAIN_ANSWER))?;
        stream.set_write_timeout(Some(PLAIN_ANSWER))?;
        stream.write_all(b"PING\r\n")?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        Ok(first[0])
    };
    // `+PONG`, or `-NOAUTH` where it wants a password first.
    ask().is_ok_and(|first| matches!(first, b'+' | b'-'))
}
