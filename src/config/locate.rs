//! On which line of a YAML text a path stands. Works on every style of YAML, because the parser itself is asked.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::problem::Segment;

/// The 1-based line of `path` or of its closest ancestor that exists; `None` for the file as a whole or broken YAML.
#[must_use]
pub(super) fn line_of(text: &str, path: &[Segment]) -> Option<usize> {
    let mut path = path;
    while let [parent @ .., _] = path {
        if let Some(line) = exact_line(text, path) {
            return Some(line);
        }
        path = parent;
    }
    None
}

/// Walks the text down to `path` and fails there on purpose: the parser adds the place to the error.
fn exact_line(text: &str, path: &[Segment]) -> Option<usize> {
    let failure = Descend { path }.deserialize(serde_norway::Deserializer::from_str(text)).err()?;
    failure.location().map(|location| location.line())
}

/// Stands at a value, with the rest of the path below it.
struct Descend<'p> {
    path: &'p [Segment],
}

impl<'de> DeserializeSeed<'de> for Descend<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! scalar {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E: serde::de::Error>(self, _: $type) -> Result<(), E> {
            self.leaf()
        })*
    };
}

impl Descend<'_> {
    /// A scalar: the destination, or a dead end of a path that does not exist.
    fn leaf<E: serde::de::Error>(self) -> Result<(), E> {
        if self.path.is_empty() { Err(E::custom("here")) } else { Ok(()) }
    }
}

impl<'de> Visitor<'de> for Descend<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }
    scalar!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.leaf()
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.leaf()
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Segment::Key(wanted), rest)) = self.path.split_first() else {
            return if self.path.is_empty() { Err(A::Error::custom("here")) } else { skip_map(map) };
        };
        while let Some(found) = map.next_key_seed(Key { wanted, last: rest.is_empty() })? {
            if found {
                map.next_value_seed(Descend { path: rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((Segment::Index(wanted), rest)) = self.path.split_first() else {
            return if self.path.is_empty() { Err(A::Error::custom("here")) } else { skip_seq(seq) };
        };
        for _ in 0..*wanted {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        seq.next_element_seed(Descend { path: rest })?;
        skip_seq(seq)
    }
}

fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A key of a mapping: whether it is the wanted one. Fails at the wanted one if that is the destination.
struct Key<'p> {
    wanted: &'p str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.last => Err(E::custom("here")),
            found => Ok(found),
        }
    }
    fn visit_bool<E: serde::de::Error>(self, key: bool) -> Result<bool, E> {
        self.visit_str(&key.to_string())
    }
    fn visit_i64<E: serde::de::Error>(self, key: i64) -> Result<bool, E> {
        self.visit_str(&key.to_string())
    }
    fn visit_u64<E: serde::de::Error>(self, key: u64) -> Result<bool, E> {
        self.visit_str(&key.to_string())
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_every_style() {
        let text = "# a comment\nname: x\ndetectors:\n  'behavior': {weight: 1,\n    wieght: 2}\nkey:\n- source\n- \"user\"\n";
        let key = |name: &str| Segment::Key(name.into());
        for (path, line) in [
            (vec![key("name")], Some(2)),
            (vec![key("detectors"), key("behavior")], Some(4)),
            (vec![key("detectors"), key("behavior"), key("wieght")], Some(5)),
            (vec![key("key"), Segment::Index(1)], Some(8)),
            (vec![key("key"), Segment::Index(7)], Some(6)),
            (vec![key("detectors"), key("absent"), key("deeper")], Some(3)),
            (vec![key("absent")], None),
            (vec![], None),
        ] {
            assert_eq!(line_of(text, &path), line, "{path:?}");
        }
    }
}
