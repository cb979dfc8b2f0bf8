//! Which of a pipeline's bundles scores, which one scores beside it, and how that came about. Pure: `registry_files` keeps it.
//!
//! Must never forget a champion that a rollback leads to while its history is within the bound, and never name one version twice.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits::REGISTRY_HISTORY_MAX;

/// Layout of the file. A reader refuses newer ones; 2 knows recalibrations.
const FORMAT: u32 = 2;

/// The roles of a pipeline's bundles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Roles {
    format: u32,
    /// The version that scores.
    pub champion: Option<String>,
    /// The version that scores beside it without outputs of its own.
    pub shadow: Option<String>,
    /// What was changed, oldest first.
    pub history: Vec<Change>,
}

/// One change of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// RFC 3339.
    pub at: String,
    pub action: Action,
    /// Who has the role now, and who had it before.
    pub version: Option<String>,
    pub before: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Promote,
    Rollback,
    Shadow,
    /// A running pipeline has learned again what ordinary scores are.
    Recalibrate,
}

impl Action {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Shadow => "shadow",
            Self::Recalibrate => "recalibrate",
        }
    }
}

/// What a version is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Champion,
    Shadow,
    None,
}

impl Default for Roles {
    fn default() -> Self {
        Self { format: FORMAT, champion: None, shadow: None, history: vec![] }
    }
}

impl Roles {
    /// # Errors
    /// `Config`: it is no such file, or one of a newer format.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unusable = |error| Error::config("it is not usable; restore it, or promote a version anew after removing it").because(error);
        let Format { format } = serde_json::from_slice(bytes).map_err(unusable)?;
        if format > FORMAT {
            return Err(Error::config(format!("it has format {format}, this version reads up to {FORMAT}: upgrade threatguard")));
        }
        let roles: Self = serde_json::from_slice(bytes).map_err(unusable)?;
        match roles.named().find(|version| !is_version(version)) {
            Some(other) => Err(Error::config(format!("it names '{other}', which is no version of a bundle"))),
            None => Ok(()),
        }?;
        Ok(roles)
    }

    fn named(&self) -> impl Iterator<Item = &String> {
        let changed = self.history.iter().flat_map(|change| [&change.version, &change.before]);
        [&self.champion, &self.shadow].into_iter().chain(changed).flatten()
    }

    /// For people too: one field a line.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("roles are text under names");
        bytes.push(b'\n');
        bytes
    }

    #[must_use]
    pub fn role(&self, version: &str) -> Role {
        match version {
            _ if self.champion.as_deref() == Some(version) => Role::Champion,
            _ if self.shadow.as_deref() == Some(version) => Role::Shadow,
            _ => Role::None,
        }
    }

    /// Makes a version the champion; one that was the shadow is that no longer. False: it is the champion already.
    pub fn promote(&mut self, version: &str, at: &str) -> bool {
        if self.role(version) == Role::Champion {
            return false;
        }
        if self.role(version) == Role::Shadow {
            self.shadow = None;
        }
        let before = self.champion.replace(version.to_owned());
        self.remember(Action::Promote, Some(version.to_owned()), before, at);
        true
    }

    /// Makes the next calibration of `of`, which has to be the champion still, the champion. False: another one is it meanwhile, or a
    /// calibration was rolled back and nobody has promoted anything since; then nothing changes.
    ///
    /// Of a chain of these the history keeps one, so that a rollback leads to what was promoted, and many of them displace nothing.
    pub fn recalibrate(&mut self, version: &str, of: &str, at: &str) -> bool {
        if !self.may_recalibrate(of) || self.role(version) == Role::Champion {
            return false;
        }
        if self.role(version) == Role::Shadow {
            self.shadow = None;
        }
        self.champion = Some(version.to_owned());
        let last = self.history.iter().rposition(|change| change.action != Action::Shadow);
        let chained = last.filter(|last| self.history[*last].action == Action::Recalibrate);
        let before = chained.map_or_else(|| Some(of.to_owned()), |last| self.history.remove(last).before);
        self.remember(Action::Recalibrate, Some(version.to_owned()), before, at);
        true
    }

    /// Whether a calibration made from version `of` may take its place.
    #[must_use]
    pub fn may_recalibrate(&self, of: &str) -> bool {
        let is_undone = self.history.iter().rfind(|change| change.action != Action::Shadow).is_some_and(|last| {
            let was_recalibrated = |change: &Change| change.action == Action::Recalibrate && change.version == last.before;
            last.action == Action::Rollback && self.history.iter().any(was_recalibrated)
        });
        self.champion.as_deref() == Some(of) && !is_undone
    }

    /// Makes a version the shadow, or none. False: that is so already.
    ///
    /// # Errors
    /// `Config`: the champion cannot be compared with itself.
    pub fn set_shadow(&mut self, version: Option<&str>, at: &str) -> Result<bool> {
        if let Some(version) = version.filter(|version| self.role(version) == Role::Champion) {
            return Err(Error::config(format!("{version} is the champion: there is nothing to compare it with")));
        }
        if self.shadow.as_deref() == version {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.shadow, version.map(str::to_owned));
        self.remember(Action::Shadow, version.map(str::to_owned), before, at);
        Ok(true)
    }

    /// The champion that a rollback leads to: the one before the present one was promoted. Rolled back again, the one before that.
    #[must_use]
    pub fn before(&self) -> Option<&str> {
        let mut promoted: Vec<Option<&str>> = vec![];
        for change in &self.history {
            match change.action {
                Action::Promote | Action::Recalibrate => promoted.push(change.before.as_deref()),
                Action::Rollback => drop(promoted.pop()),
                Action::Shadow => {}
            }
        }
        promoted.pop().flatten()
    }

    /// Goes back to [`Self::before`], which is returned.
    ///
    /// # Errors
    /// `Config`: nothing is known of a champion before.
    pub fn roll_back(&mut self, at: &str) -> Result<String> {
        let to = self.before().map(str::to_owned);
        let to = to.ok_or_else(|| Error::config("there was no champion before the present one; promote the version that is wanted"))?;
        if self.shadow.as_deref() == Some(to.as_str()) {
            self.shadow = None;
        }
        let before = self.champion.replace(to.clone());
        self.remember(Action::Rollback, Some(to.clone()), before, at);
        Ok(to)
    }

    fn remember(&mut self, action: Action, version: Option<String>, before: Option<String>, at: &str) {
        self.history.push(Change { at: at.to_owned(), action, version, before });
        let beyond = self.history.len().saturating_sub(REGISTRY_HISTORY_MAX);
        self.history.drain(..beyond);
    }
}

/// Versions are names of folders: nothing else may become one.
#[must_use]
pub fn is_version(text: &str) -> bool {
    text.len() == super::sealed::VERSION_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: usize) -> String {
        format!("{number:016x}")
    }

    #[test]
    fn rollbacks_go_back_through_the_promotions_and_not_to_and_fro() {
        let mut roles = Roles::default();
        for number in 1..=3 {
            assert!(roles.promote(&version(number), "now"));
        }
        assert!(!roles.promote(&version(3), "now"), "it is that already");
        assert_eq!(roles.roll_back("now").unwrap(), version(2));
        assert_eq!(roles.roll_back("now").unwrap(), version(1));
        assert!(roles.roll_back("now").unwrap_err().to_string().contains("no champion before"));
        roles.promote(&version(4), "now");
        assert_eq!(roles.before(), Some(version(1).as_str()));
        assert_eq!(Roles::parse(&roles.to_bytes()).unwrap(), roles);
    }

    #[test]
    fn a_recalibration_takes_the_place_of_what_it_was_made_from_and_of_nothing_else() {
        let mut roles = Roles::default();
        roles.promote(&version(1), "now");
        roles.promote(&version(2), "now");
        assert!(!roles.recalibrate(&version(3), &version(1), "now"), "made from one that scores no more");
        for number in 3..=9 {
            assert!(roles.recalibrate(&version(number), &version(if number == 3 { 2 } else { number - 1 }), "now"));
            roles.set_shadow(Some(&version(20 + number)), "now").unwrap();
        }
        assert_eq!(roles.history.iter().filter(|change| change.action == Action::Recalibrate).count(), 1);
        assert_eq!(roles.roll_back("now").unwrap(), version(2), "what was promoted");
        assert!(!roles.recalibrate(&version(10), &version(2), "now"), "it was undone on purpose");
        assert_eq!(roles.roll_back("now").unwrap(), version(1));
        assert!(roles.may_recalibrate(&version(1)), "what was undone last was promoted");
        roles.promote(&version(2), "now");
        assert!(roles.recalibrate(&version(10), &version(2), "now"));
        assert_eq!(Roles::parse(&roles.to_bytes()).unwrap(), roles);
    }

    #[test]
    fn a_version_has_one_role() {
        let mut roles = Roles::default();
        roles.promote(&version(1), "now");
        assert!(roles.set_shadow(Some(&version(1)), "now").is_err());
        assert!(roles.set_shadow(Some(&version(2)), "now").unwrap() && !roles.set_shadow(Some(&version(2)), "now").unwrap());
        roles.promote(&version(2), "now");
        assert_eq!((roles.role(&version(2)), roles.shadow.as_ref()), (Role::Champion, None));
        roles.set_shadow(Some(&version(1)), "now").unwrap();
        roles.roll_back("now").unwrap();
        assert_eq!((roles.role(&version(1)), roles.role(&version(2)), roles.shadow), (Role::Champion, Role::None, None));
    }

    #[test]
    fn the_history_is_bounded_and_a_damaged_file_is_refused() {
        let mut roles = Roles::default();
        for number in 0..3 * REGISTRY_HISTORY_MAX {
            roles.promote(&version(number), "now");
        }
        assert_eq!(roles.history.len(), REGISTRY_HISTORY_MAX);
        assert_eq!(roles.roll_back("now").unwrap(), version(3 * REGISTRY_HISTORY_MAX - 2));
        for (text, expected) in [
            ("{}", "not usable"),
            (r#"{"format": 3, "other": 1}"#, "upgrade threatguard"),
            (r#"{"format": 1, "champion": "../../etc", "shadow": null, "history": []}"#, "no version of a bundle"),
        ] {
            let error = Roles::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
