//! Errors say what to do next. A new [`Kind`] is added only where someone would act differently.

use std::fmt;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Try again later: the other side is away or busy.
    Transient,
    /// Trying again will not help; someone must look. Exit code 3.
    Permanent,
    /// Someone newer owns this partition: stop working on it, drop its state.
    Fenced,
    /// The configuration, the command line or a named file is wrong. Exit code 2.
    Config,
    /// An invariant of ours does not hold: stop before anything is lost, report it.
    Bug,
}

/// An error with the action it calls for. Messages are lower case, carry no secrets and name what to change.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(Kind::Transient, message)
    }
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Kind::Permanent, message)
    }
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, message)
    }
    /// Keeps the cause, whose text follows ours when shown.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
