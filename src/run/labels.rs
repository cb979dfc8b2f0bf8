//! Labels inside the events of a stream: which of them are attacks. Only training and backtests look at them.

use crate::core::event::Event;
use crate::models::table::truth::BENIGN;

/// Where the label of an event is; without a field no event has one.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    pub field: Option<String>,
    /// The value of benign events; the usual words where left out.
    pub benign: Option<String>,
}

impl Labels {
    /// Whether the event is labelled as an attack; none without a label.
    #[must_use]
    pub fn attack(&self, event: &Event<'_>) -> Option<bool> {
        self.class(event).map(|class| !self.is_benign(class))
    }

    /// The label itself.
    #[must_use]
    pub fn class<'e>(&self, event: &Event<'e>) -> Option<&'e str> {
        let field = self.field.as_deref()?;
        let (_, value) = event.extra.iter().find(|(name, _)| *name == field)?;
        Some(value.trim_matches('"').trim()).filter(|value| !value.is_empty() && *value != "-" && *value != "null")
    }

    fn is_benign(&self, class: &str) -> bool {
        match &self.benign {
            Some(benign) => class == benign,
            None => BENIGN.iter().any(|benign| class.eq_ignore_ascii_case(benign)),
        }
    }
}
