//! `threatguard verify`: a deployment's invariants, from outside.

use std::time::Duration;

use super::args_state::VerifyArgs;
use super::{Outcome, output, state_view};
use crate::config::clients;
use crate::config::pipeline::{self, PipelineFile};
use crate::config::service::ServiceSettings;
use crate::core::sanitize::parse_time;
use crate::core::types::EventTime;
use crate::edge::snapshot::Place;
use crate::error::{Error, Result};
use crate::run::state::deployment::{Asked, check};
use crate::run::state::rewind::{Correlation, Rewound};
use crate::run::state::{Target, rewind};

pub(super) fn run(args: &VerifyArgs) -> Result<Outcome> {
    let settings = args.service.resolve()?.settings;
    let file = pipeline::load(&args.pipeline)?;
    let since = args.since.as_deref().map(time).transpose()?;
    let asked = Asked {
        target: Target::of_pipeline(&settings, &file)?,
        topics: clients::producer(&settings, &file).topics,
        since,
        last: args.last,
        patience: Duration::from_secs(args.patience),
    };
    let report = check(&asked)?;
    if args.json {
        output::json(&report)?
    } else {
        output::print(&state_view::deployment(&report))?
    }
    Ok(if report.findings.is_empty() { Outcome::Clean } else { Outcome::Findings })
}

/// Sets a pipeline's group back before it starts, with the correlation's, and says what that means.
///
/// # Errors
/// As for [`rewind::rewind`].
pub(super) fn rewind(settings: &ServiceSettings, file: &PipelineFile, text: &str, snapshot: Option<&str>) -> Result<()> {
    let since = time(text)?;
    let place = snapshot.map(Place::open).transpose()?;
    let rewound = rewind::rewind(Target::of_pipeline(settings, file)?, since, place.as_ref())?;
    let state = match &rewound.snapshot {
        Some(name) => format!("the state of snapshot {name}"),
        None => "a new state, which has to learn its entities again".to_owned(),
    };
    if rewound.moved.is_empty() {
        output::notice(&format!("{}: no partition has read past {since}; nothing is set back", file.name));
        return Ok(());
    }
    output::notice(&format!(
        "{}: from {since} on everything is scored and published again, with {state}. Ids stay the same: who has seen one may pass it by",
        file.name
    ));
    say_moved(&file.name, &rewound);
    correlation(settings, file, since, place.as_ref())
}

fn correlation(settings: &ServiceSettings, file: &PipelineFile, since: EventTime, place: Option<&Place>) -> Result<()> {
    match rewind::rewind_correlation(Target::of_correlation(settings, file)?, since, place)? {
        Correlation::Rewound(rewound) if rewound.moved.is_empty() => {}
        Correlation::Rewound(rewound) => {
            let state = rewound.snapshot.as_ref().map_or_else(|| "a new state".to_owned(), |name| format!("the state of snapshot {name}"));
            output::notice(&format!(
                "correlation: threats of {since} and later are read again, with {state}. Their alerts come again with the same ids; \
                 threats that are published again with theirs count once"
            ));
            say_moved("correlation", &rewound);
        }
        Correlation::InUse(members) => output::notice(&format!(
            "correlation: it goes on where it is, because {members} members of its group are at work. Alerts do not come again; to set \
             it back too, stop every pipeline that publishes to the same threats topic first"
        )),
    }
    Ok(())
}

fn say_moved(name: &str, rewound: &Rewound) {
    for (partition, was, is) in &rewound.moved {
        let was = was.map_or_else(|| "nothing".to_owned(), |was| was.0.to_string());
        output::notice(&format!("{name}: partition {} goes from {was} to {}", partition.0, is.0));
    }
}

/// A time as somebody types it.
///
/// # Errors
/// `Config`: it is none.
pub(super) fn time(text: &str) -> Result<EventTime> {
    parse_time(text).ok_or_else(|| Error::config(format!("'{text}' is no time; write it as 2026-05-01T06:30:00Z")))
}
