//! One connection that is made anew after a failure, with a pause that grows to a second, and the checks of the server.
//! Every wait is bounded; the address is shown without its password.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use ::redis::{Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, Script, ServerErrorKind, Value};

use super::script::Reply;
use super::{RedisSettings, script, tls};
use crate::edge::clock;
use crate::edge::secret::redact_url;
use crate::error::{Error, Kind, Result};

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    client: ::redis::Client,
    open: Option<::redis::Connection>,
    /// For messages, without credentials.
    address: String,
    connect_timeout: Duration,
    io_timeout: Duration,
    /// When to try next, and the pause after the failure after that.
    retry: Option<(Instant, Duration)>,
    /// The last failure was one of a server that is there and has no time or room for us.
    is_busy: bool,
    /// It was connected before, so the address cannot be all wrong.
    is_known: bool,
}

/// What a first look at the server has found.
pub(super) enum Look {
    Fits,
    /// It is there, and does not answer in time or not yet.
    Busy(Error),
}

impl Connection {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self> {
        let url = settings.url.expose();
        let address = redact_url(url);
        let wrong = |error: RedisError| {
            Error::config(format!(
                "{address:?} is not a Redis address ({}); write redis://host:port/db, or rediss:// for TLS",
                error.category()
            ))
        };
        let info = url.into_connection_info().map_err(wrong)?;
        let client = match tls::certificates(settings)? {
            None => ::redis::Client::open(info).map_err(wrong)?,
            Some(files) => ::redis::Client::build_with_tls(info, files)
                .map_err(|error| Error::config(format!("the files under redis_tls do not fit Redis at {address}")).because(error))?,
        };
        Ok(Self {
            client,
            open: None,
            address,
            connect_timeout: Duration::from_millis(settings.connect_timeout_ms),
            io_timeout: Duration::from_millis(settings.io_timeout_ms),
            retry: None,
            is_busy: false,
            is_known: false,
        })
    }

    /// Runs one exchange. After an error of the connection it is dropped, because a late answer would be taken for the next one.
    pub(super) fn query<T>(&mut self, exchange: impl FnOnce(&mut ::redis::Connection) -> RedisResult<T>) -> Result<T> {
        let mut connection = self.take_open()?;
        match exchange(&mut connection) {
            Ok(value) => {
                self.open = Some(connection);
                Ok(value)
            }
            Err(error) => {
                if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) && !must_reconnect(&error) {
                    self.open = Some(connection);
                }
                Err(self.failed(&error))
            }
        }
    }

    fn failed(&mut self, error: &RedisError) -> Error {
        self.is_busy = is_busy(error);
        self.explain(error)
    }

    /// Runs a script by its hash, and by its text when the server has forgotten it.
    pub(super) fn run(&mut self, script: &Script, keys_and_args: &Cmd) -> Result<Reply> {
        let arguments: Vec<&[u8]> = keys_and_args
            .args_iter()
            .filter_map(|arg| match arg {
                ::redis::Arg::Simple(bytes) => Some(bytes),
                _ => None,
            })
            .collect();
        let by_hash = |connection: &mut ::redis::Connection| {
            let attempt: RedisResult<Vec<Value>> = ::redis::cmd("EVALSHA").arg(script.get_hash()).arg(&arguments).query(connection);
            match attempt {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    script.load(connection)?;
                    ::redis::cmd("EVALSHA").arg(script.get_hash()).arg(&arguments).query(connection)
                }
                other => other,
            }
        };
        Reply::of(self.query(by_hash)?)
    }

    /// One look at `INFO`, and both scripts loaded, so that missing rights show at start and not at the first checkpoint.
    pub(super) fn check_server(&mut self) -> Result<()> {
        let info: String = self.query(|connection| ::redis::cmd("INFO").query(connection))?;
        check_info(&info, &self.address)?;
        self.query(|connection| {
            script::CLAIM.load(connection).and_then(|_| script::STORE.load(connection)).and_then(|_| script::FILL.load(connection))
        })?;
        Ok(())
    }

    /// As [`Self::check_server`], but tells a server that is there and slow from an address where nobody is.
    pub(super) fn look(&mut self) -> Result<Look> {
        self.knock()?;
        match self.check_server() {
            Ok(()) => Ok(Look::Fits),
            Err(error) if error.kind == Kind::Transient && self.is_busy => Ok(Look::Busy(error)),
            Err(error) => Err(error),
        }
    }

    /// Whether anybody takes connections at the address. The system does that for a process that has no time.
    fn knock(&self) -> Result<()> {
        let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) = self.client.get_connection_info().addr() else {
            return Ok(());
        };
        let connect = |address| TcpStream::connect_timeout(&address, self.connect_timeout);
        let mut refused = None;
        match (host.as_str(), *port).to_socket_addrs() {
            Ok(addresses) => {
                for address in addresses {
                    match connect(address) {
                        Ok(_) => return Ok(()),
                        Err(error) => refused = Some(error),
                    }
                }
            }
            Err(error) => refused = Some(error),
        }
        let absent = self.absent();
        Err(match refused {
            Some(error) => absent.because(error),
            None => absent,
        })
    }

    fn absent(&self) -> Error {
        Error::transient(format!("no connection to Redis at {}; is it running and reachable?", self.address))
    }

    fn take_open(&mut self) -> Result<::redis::Connection> {
        if let Some(connection) = self.open.take() {
            return Ok(connection);
        }
        let pause = match self.retry {
            None => PAUSE_MIN,
            Some((at, pause)) => {
                std::thread::sleep(at.saturating_duration_since(clock::now()));
                pause
            }
        };
        match self.connect() {
            Ok(connection) => {
                self.retry = None;
                self.is_known = true;
                Ok(connection)
            }
            Err(error) => {
                self.retry = Some((clock::now() + pause, (pause * 2).min(PAUSE_MAX)));
                let failed = self.failed(&error);
                Err(self.plain_instead(&error).unwrap_or(failed))
            }
        }
    }

    /// A server without TLS says nothing to who begins with it, as one that has no time.
    fn plain_instead(&self, error: &RedisError) -> Option<Error> {
        let ConnectionAddr::TcpTls { host, port, .. } = self.client.get_connection_info().addr() else { return None };
        let is_plain = error.is_timeout() && !self.is_known && tls::is_plain(host, *port);
        is_plain.then(|| {
            let address = &self.address;
            Error::config(format!("Redis at {address} does not speak TLS there; name the port that does, or write redis:// for none"))
        })
    }

    fn connect(&self) -> RedisResult<::redis::Connection> {
        let connection = self.client.get_connection_with_timeout(self.connect_timeout)?;
        connection.set_read_timeout(Some(self.io_timeout))?;
        connection.set_write_timeout(Some(self.io_timeout))?;
        Ok(connection)
    }

    /// Our error for theirs: what it means for the caller, and what to change.
    fn explain(&self, error: &RedisError) -> Error {
        let address = &self.address;
        if let Some(explained) = tls::explain(error, address) {
            // What was connected before may be so again: certificates are changed while we run.
            return Error::new(if self.is_known { Kind::Transient } else { Kind::Config }, explained);
        }
        let said = || format!("{} {}", error.code().unwrap_or(""), error.detail().unwrap_or_else(|| error.category())).trim().to_owned();
        match error.kind() {
            ErrorKind::AuthenticationFailed => Error::config(format!("Redis at {address} refuses the user or password")),
            ErrorKind::InvalidClientConfig => Error::config(format!("the address of Redis at {address} is wrong")).because(error.clone()),
            ErrorKind::Io if error.is_timeout() => Error::transient(format!("Redis at {address} did not answer in time")),
            ErrorKind::Io if is_broken_off(error) => {
                let is_tls = matches!(self.client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. });
                let other = if is_tls { "want `certificate` and `key` under redis_tls" } else { "want TLS: write rediss://" };
                let advice = format!("it may be starting anew, or {other}");
                Error::transient(format!("Redis at {address} broke the connection off; {advice}")).because(error.clone())
            }
            ErrorKind::Io => self.absent().because(error.clone()),
            ErrorKind::Parse => {
                let advice = "check the port, and write rediss:// where it listens with TLS";
                Error::transient(format!("what answers at {address} does not speak as Redis does; {advice}"))
            }
            ErrorKind::Server(ServerErrorKind::ReadOnly) => {
                Error::transient(format!("Redis at {address} is a read-only replica; state needs the master"))
            }
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Error::config(format!("the user of Redis at {address} lacks a right: {}", said()))
            }
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot) => {
                Error::config(format!("Redis at {address} is a node of a cluster, which is not supported; use a single master"))
            }
            ErrorKind::Server(
                ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown,
            ) => Error::transient(format!("Redis at {address} is not ready: {}", said())),
            _ => match error.code() {
                Some("NOAUTH" | "WRONGPASS") => Error::config(format!("Redis at {address} wants a user and password: {}", said())),
                Some("OOM") => {
                    Error::transient(format!("Redis at {address} is out of memory (maxmemory); give it more or let states expire sooner"))
                }
                Some("BUSY" | "MISCONF" | "NOREPLICAS") => {
                    Error::transient(format!("Redis at {address} refuses writes for now: {}", said()))
                }
                _ if error.is_unrecoverable_error() => {
                    Error::transient(format!("the connection to Redis at {address} broke")).because(error.clone())
                }
                _ => Error::new(Kind::Permanent, format!("Redis at {address} refused a command: {}", said())),
            },
        }
    }
}

/// Whether waiting is all that helps.
fn is_busy(error: &RedisError) -> bool {
    let is_not_ready = || {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, TryAgain};
        matches!(error.kind(), ErrorKind::Server(BusyLoading | TryAgain | ClusterDown | MasterDown))
            || matches!(error.code(), Some("OOM" | "BUSY" | "MISCONF" | "NOREPLICAS"))
    };
    error.is_timeout() || is_not_ready()
}

fn is_broken_off(error: &RedisError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    tls::io_error(error).is_some_and(|inner| matches!(inner.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
}

/// After a failover the same address may lead to another server.
fn must_reconnect(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown))
}

fn check_info(info: &str, address: &str) -> Result<()> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim();
    let version = field("redis_version");
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if (major, minor) < (6, 2) {
        return Err(Error::config(format!("Redis at {address} is version {version:?}; 7 or newer is needed")));
    }
    if field("role") != "master" {
        return Err(Error::config(format!("Redis at {address} is a read-only {}; state needs the master's address", field("role"))));
    }
    if field("cluster_enabled") == "1" {
        return Err(Error::config(format!("Redis at {address} runs in cluster mode, which is not supported; use a single master")));
    }
    let policy = field("maxmemory_policy");
    if policy != "noeviction" {
        return Err(Error::config(format!(
            "Redis at {address} has maxmemory-policy {policy}, which would silently forget entities; \
             set `maxmemory-policy noeviction` and use another Redis for caches"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: &str, role: &str, policy: &str, said: &str) {
        let info = format!("# Server\r\nredis_version:{version}\r\nrole:{role}\r\nmaxmemory_policy:{policy}\r\ncluster_enabled:0\r\n");
        let text = check_info(&info, "redis://host:1/0").map_or_else(|error| error.to_string(), |()| "fine".to_owned());
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn the_server_has_to_fit() {
        check("7.0.15", "master", "noeviction", "fine");
        check("6.2.0", "master", "noeviction", "fine");
        check("6.0.16", "master", "noeviction", "7 or newer");
        check("", "master", "noeviction", "7 or newer");
        check("7.0.15", "slave", "noeviction", "read-only slave");
        check("7.0.15", "master", "allkeys-lru", "set `maxmemory-policy noeviction`");
    }

    #[test]
    fn a_wrong_address_is_explained_without_its_password() {
        let settings = RedisSettings { url: super::super::Secret::new("redis://:hunter2@host:notaport/x"), ..RedisSettings::default() };
        let error = Connection::new(&settings).err().map(|error| (error.kind, error.to_string())).unwrap();
        assert_eq!(error.0, Kind::Config);
        assert!(error.1.contains("redis://***@host:notaport/x") && !error.1.contains("hunter2"), "{}", error.1);
    }
}
