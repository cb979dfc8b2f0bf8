//! Text that must never be shown: not by `Debug`, not by serialising settings, not in an error.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A password or an address that contains one. Only [`Secret::expose`] gives it out.
#[derive(Clone, Default, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(transparent)]
pub struct Secret(String);

pub(crate) const MASK: &str = "***";

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// An address without the user and password in front of its host.
#[must_use]
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.contains('@') { MASK.to_owned() } else { url.to_owned() };
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    match rest.rsplit_once('@') {
        None => url.to_owned(),
        // A password may hold any character, a slash too: everything before the last `@` goes.
        Some((_, after)) if !authority.contains('@') => format!("{scheme}://{MASK}@{after}"),
        Some(_) => format!("{scheme}://{MASK}@{}{path}", authority.rsplit('@').next().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {}", serde_json::to_string(&secret).unwrap()), "*** \"***\"");
        assert_eq!(serde_json::from_str::<Secret>("\"hunter2\"").unwrap().expose(), "hunter2");
    }

    #[test]
    fn addresses_lose_their_credentials() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://:pa@ss@host:1/2", "redis://***@host:1/2"),
            ("rediss://user:pass@host/0#insecure", "rediss://***@host/0#insecure"),
            ("redis://user:a/b@host:6379/0", "redis://***@host:6379/0"),
            ("user:pass@host", "***"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }
}
