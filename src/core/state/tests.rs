//! What a state remembers, how it is stored, and what it refuses.
#![allow(clippy::float_cmp)] // the same bits are what is promised

use super::sketch::Windowed;
use super::table::{Slot, Table};
use super::*;
use crate::core::event::Outcome;
use crate::core::features::prevalence::place_of;
use crate::core::features::row::{SIGNAL_WIDTH, SignalRow};
use crate::core::samples::event;
use crate::core::types::{EntityKey, MICROS_PER_HOUR};

const LIMITS: Lateness = Lateness { allowed_micros: 600_000_000, expire_micros: 30 * 24 * MICROS_PER_HOUR };

/// Of a destination that does not matter.
const PLACE: u64 = 1;

fn feed(state: &mut EntityState, events: impl IntoIterator<Item = Event<'static>>) -> SignalRow {
    let mut signals = [0.0; SIGNAL_WIDTH];
    for event in events {
        signals = [0.0; SIGNAL_WIDTH];
        assert!(matches!(state.observe(&event, place_of(&event), &LIMITS, false, &mut signals), Observed::Applied(_)));
    }
    signals
}

fn at(signals: &SignalRow, which: Signal) -> f32 {
    signals[which as usize]
}

#[test]
fn a_stored_state_goes_on_exactly_where_it_was() {
    let mut straight = EntityState::default();
    let (mut scratch, mut value) = (vec![], vec![]);
    let mut resumed = EntityState::default();
    for i in 0..2_000u64 {
        let mut event = event(i, 1, i as i64 * 37 % 90_000 + i as i64 * 40);
        event.port = (i * 7919 % 1024) as u16;
        event.bytes = i * i;
        let (mut a, mut b) = ([0.0; SIGNAL_WIDTH], [0.0; SIGNAL_WIDTH]);
        straight.observe(&event, place_of(&event), &LIMITS, false, &mut a);
        value.clear();
        resumed.encode(None, &mut scratch, &mut value);
        resumed = EntityState::decode(&value, &mut scratch).unwrap().0;
        resumed.observe(&event, place_of(&event), &LIMITS, false, &mut b);
        assert_eq!(a, b, "event {i}");
    }
    assert_eq!(straight, resumed);
    assert!(value.len() <= crate::limits::STATE_VALUE_BYTES_MAX);
}

#[test]
fn a_young_state_is_small_and_a_damaged_one_is_refused() {
    let mut state = EntityState::default();
    feed(&mut state, [event(0, 1, 0)]);
    let (mut scratch, mut value) = (vec![], vec![]);
    state.encode(None, &mut scratch, &mut value);
    assert!(value.len() < 250, "{} bytes", value.len());
    assert!(EntityState::decode(&value[..value.len() - 1], &mut scratch).is_err());
    assert!(EntityState::decode(&[], &mut scratch).is_err());
    value[0] = FORMAT + 1;
    assert!(EntityState::decode(&value, &mut scratch).unwrap_err().contains("run the version that wrote it"));
}

#[test]
fn replayed_and_late_events_change_nothing_but_the_offset() {
    let mut state = EntityState::default();
    feed(&mut state, (0..10).map(|i| event(i, 1, i as i64 * 100)));
    let before = state;
    let mut signals = [0.0; SIGNAL_WIDTH];
    assert_eq!(state.observe(&event(9, 1, 2_000), PLACE, &LIMITS, false, &mut signals), Observed::Replayed);
    assert_eq!(state, before);
    assert_eq!(state.observe(&event(10, 1, 900 - 601), PLACE, &LIMITS, false, &mut signals), Observed::Late);
    assert_eq!((state.next_offset().0, state.events()), (11, 10));
    assert!(matches!(state.observe(&event(11, 1, 900 - 599), PLACE, &LIMITS, false, &mut signals), Observed::Applied(_)));
    feed(&mut state, [event(12, 1, 900 + 31 * 86_400)]);
    assert_eq!(state.events(), 1, "expired");
}

#[test]
fn what_lasted_is_late_by_its_end_and_moves_time_by_its_beginning() {
    let lasted = |offset: u64, second: i64, seconds: f32| {
        let mut event = event(offset, 1, second);
        event.flow.duration = seconds;
        event
    };
    let mut state = EntityState::default();
    feed(&mut state, [lasted(0, 0, 86_400.0), lasted(1, 7_200, 1.0)]);
    let mut observed = |event: Event<'_>| state.observe(&event, PLACE, &LIMITS, false, &mut [0.0; SIGNAL_WIDTH]);
    assert_eq!(observed(lasted(2, 100, 6_499.0)), Observed::Late, "over eleven minutes before the newest begins");
    assert!(matches!(observed(lasted(3, 100, 6_501.0)), Observed::Applied(_)));
    assert!(matches!(observed(lasted(4, 7_200 - 600, 0.0)), Observed::Applied(_)), "the newest is not the end of what lasted longest");
    assert_eq!(observed(lasted(5, 7_200 - 30 * 86_400 - 601, f32::MAX)), Observed::Late, "nothing is believed to last for ever");
}

#[test]
fn a_long_connection_that_is_over_is_no_interval() {
    let beacon = |with_long: bool| {
        let mut state = EntityState::default();
        let mut offset = 0..;
        let mut next = || offset.next().unwrap_or_default();
        for minute in 0..120 {
            feed(&mut state, [event(next(), 1, minute * 60)]);
            if with_long && minute == 100 {
                let mut long = event(next(), 1, 30);
                long.flow.duration = 5_970.0;
                feed(&mut state, [long]);
            }
        }
        feed(&mut state, [event(next(), 1, 7_200)])
    };
    let (with, without) = (beacon(true), beacon(false));
    for signal in [Signal::Period, Signal::PeriodJitter, Signal::PeriodCount] {
        assert_eq!(at(&with, signal), at(&without, signal));
    }
}

#[test]
fn failures_are_counted_and_fade() {
    let mut state = EntityState::default();
    let failure = |i: u64, second: i64| {
        let mut event = event(i, 1, second);
        (event.event_type, event.outcome, event.user_id) = ("auth.login", Outcome::Failure, "alice");
        event
    };
    let signals = feed(&mut state, (0..20).map(|i| failure(i, i as i64)));
    assert!(at(&signals, Signal::Failures5m) > 19.0);
    assert!((at(&signals, Signal::FailedUsers) - 1.0).abs() < 0.01);
    let mut success = failure(20, 30);
    success.outcome = Outcome::Success;
    assert_eq!(at(&feed(&mut state, [success]), Signal::SuccessAfterFailures), 1.0);
    let signals = feed(&mut state, [failure(21, 7_200)]);
    assert!(at(&signals, Signal::Failures5m) < 1.1 && at(&signals, Signal::Failures1h) < 4.0);
}

#[test]
fn a_beacon_is_periodic_and_browsing_is_not() {
    let run = |gap: fn(u64) -> i64| {
        let mut state = EntityState::default();
        let mut second = 0;
        let events: Vec<_> = (0..60)
            .map(|i| {
                second += gap(i);
                event(i, 1, second)
            })
            .collect();
        feed(&mut state, events)
    };
    let beacon = run(|i| 60 + (i % 3) as i64 - 1);
    assert!(at(&beacon, Signal::PeriodJitter) < 0.05 && at(&beacon, Signal::PeriodCount) > 50.0);
    assert!((at(&beacon, Signal::Period) - 60.0).abs() < 2.0);
    let browsing = run(|i| 5 + (crate::core::numeric::mix(i) % 400) as i64 * (crate::core::numeric::mix(i + 99) % 7) as i64 / 3);
    assert!(at(&browsing, Signal::PeriodJitter) > 0.5, "{}", at(&browsing, Signal::PeriodJitter));
}

#[test]
fn a_scan_shows_in_the_windows_and_night_work_in_the_profile() {
    let mut state = EntityState::default();
    let scan = (0..300u64).map(|i| {
        let mut event = event(i, 1, i as i64 / 10);
        event.port = i as u16 + 1;
        event
    });
    let signals = feed(&mut state, scan);
    assert!(at(&signals, Signal::Ports) > 200.0, "{}", at(&signals, Signal::Ports));

    let mut office = EntityState::default();
    let days = (0..15i64).filter(|day| day % 7 < 5);
    let hours = days.flat_map(|day| (0..8).map(move |hour| day * 86_400 + hour * 3_600));
    let signals = feed(&mut office, hours.enumerate().map(|(i, second)| event(i as u64, 1, second)));
    assert!(at(&signals, Signal::HourRarity) < 0.5, "{}", at(&signals, Signal::HourRarity));
    let signals = feed(&mut office, [event(999, 1, 15 * 86_400 + 18 * 3_600)]);
    assert!(at(&signals, Signal::HourRarity) > 2.0, "{}", at(&signals, Signal::HourRarity));
}

#[test]
fn travel_is_measured_between_successful_log_ins_only() {
    let login = |i: u64, second: i64, address: u8, place: (f32, f32)| {
        let mut event = event(i, 1, second);
        (event.event_type, event.user_id) = ("auth.login", "alice");
        event.source_ip = std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, address));
        event.geo.coordinates = Some(place);
        event
    };
    let (berlin, new_york) = ((52.52, 13.405), (40.71, -74.0));
    let speed = |second: Event<'static>, exempt: bool| {
        let mut state = EntityState::default();
        feed(&mut state, [login(0, 0, 1, berlin)]);
        let mut signals = [0.0; SIGNAL_WIDTH];
        state.observe(&second, place_of(&second), &LIMITS, exempt, &mut signals);
        at(&signals, Signal::TravelSpeed)
    };
    assert!((speed(login(1, 3_600, 2, new_york), false) - 6_385.0).abs() < 20.0);
    assert_eq!(speed(login(1, 3_600, 1, new_york), false), 0.0, "the same address");
    assert_eq!(speed(login(1, 3_600, 2, new_york), true), 0.0, "an exempt network");
    assert_eq!(speed(login(1, -60, 2, new_york), false), 0.0, "out of order");
    let mut failed = login(1, 3_600, 2, new_york);
    failed.outcome = Outcome::Failure;
    assert_eq!(speed(failed, false), 0.0, "a failed log-in");
    let mut nowhere = login(1, 3_600, 2, new_york);
    nowhere.geo.coordinates = None;
    assert_eq!(speed(nowhere, false), 0.0, "no place");
}

/// A value that another version stored must be read as it was meant: any change here needs a new [`FORMAT`].
#[test]
fn the_stored_form_is_pinned() {
    let (mut state, mut scratch, mut all) = (EntityState::default(), vec![], vec![]);
    for i in 0..3_000u64 {
        let mut event = event(i, 1, i as i64 * 1_237 % 90_000 + i as i64 * 400);
        event.port = (i * 7_919 % 1_024) as u16;
        event.bytes = i * i;
        event.dest_ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + (i * i % 23) as u32).into();
        let name = format!("name{}-of-many-things.cdn{}.example.net", i % 11, i % 3);
        (event.event_type, event.resource) = [("dns.query", name.as_str()), ("auth.login", "vpn"), ("http", "/x")][i as usize % 3];
        event.outcome = if i % 5 == 0 { Outcome::Failure } else { Outcome::Success };
        event.geo.coordinates = (i % 3 == 1).then_some(((i % 90) as f32, 10.0));
        state.observe(&event, place_of(&event), &LIMITS, false, &mut [0.0; SIGNAL_WIDTH]);
        if i % 100 == 0 {
            let from = all.len();
            state.encode(None, &mut scratch, &mut all);
            let read = EntityState::decode(&all[from..], &mut scratch).unwrap().0;
            assert_eq!(read, state, "event {i}");
        }
    }
    assert_eq!((all.len(), crate::core::numeric::hash_bytes(&all)), (19_628, 14_752_332_977_877_022_267));
}

#[test]
fn a_value_of_another_format_says_what_to_do() {
    let (mut scratch, mut value) = (vec![], vec![]);
    EntityState::default().encode(None, &mut scratch, &mut value);
    let mut said = |format: u8| {
        value[0] = format;
        EntityState::decode(&value, &mut scratch).map_or_else(|error| error, |_| "read".to_owned())
    };
    assert_eq!(said(FORMAT_MIN), "read");
    assert!(said(FORMAT).contains("damaged"), "a memory is missing behind it");
    assert!(said(FORMAT + 1).contains("newer than 3") && said(FORMAT + 1).contains("a later one"));
    assert!(said(1).contains("format 1, which this version cannot carry over") && said(1).contains("run --from TIME"));
}

#[test]
fn what_a_network_remembers_lies_behind_the_state_and_values_without_it_are_read() {
    let (mut scratch, mut with, mut without) = (vec![], vec![], vec![]);
    let mut bytes = [7; MEMORY_BYTES];
    bytes[4..20].fill(0);
    let memory = Memory::from_bytes(&bytes);
    let mut state = EntityState::default();
    for i in 0..50 {
        state.observe(&event(i, 1, i as i64 * 60), 0, &LIMITS, false, &mut [0.0; SIGNAL_WIDTH]);
    }
    state.encode(Some(&memory), &mut scratch, &mut with);
    state.encode(None, &mut scratch, &mut without);
    assert_eq!((with[0], without[0]), (FORMAT, FORMAT_MIN), "an older version reads what has no memory");
    assert_eq!(EntityState::decode(&with, &mut scratch), Ok((state, Some(memory))));
    assert_eq!(EntityState::decode(&without, &mut scratch), Ok((state, None)));
    with[0] = FORMAT_MIN;
    assert!(EntityState::decode(&with, &mut scratch).is_err(), "more than a state");
}

#[test]
fn a_window_that_was_closed_is_read_back_whatever_it_counted() {
    fn check<const B: usize>() {
        for distinct in 0..=8 * B as u64 {
            let (mut window, mut read, mut stored) = (Windowed::<B>::default(), Windowed::<B>::default(), vec![]);
            let ones = (0..distinct).fold(0, |_, value| window.insert(Some(value)));
            let counted = window.value(ones, 0.0);
            window.roll(true);
            window.write(&mut stored);
            assert!(read.read(&mut stored.as_slice()).is_some());
            assert_eq!((read, read.value(0, 1.0)), (window, counted), "{distinct} of {B} bytes");
        }
    }
    check::<8>();
    check::<20>();
    check::<32>();
}

#[test]
fn what_a_network_remembers_goes_when_its_entity_or_its_state_does() {
    let (mut table, memory) = (Table::new(1, false, 7), Memory::from_bytes(&[7; MEMORY_BYTES]));
    let take = |table: &mut Table, slot: Slot, event: &Event<'_>| {
        table.state_mut(slot).observe(event, PLACE, &LIMITS, false, &mut [0.0; SIGNAL_WIDTH]);
        table.begin_anew(slot);
    };
    let slot = table.insert(EntityKey(1), EntityState::default(), 0);
    assert!(table.memory(slot).is_empty());
    take(&mut table, slot, &event(0, 1, 0));
    table.remember(slot, &memory);
    take(&mut table, slot, &event(1, 1, 60));
    assert_eq!(table.memory(slot), memory);
    let mut alone = EntityState::default();
    for event in [event(0, 1, 0), event(1, 1, 60)] {
        alone.observe(&event, PLACE, &LIMITS, false, &mut [0.0; SIGNAL_WIDTH]);
    }
    assert_eq!(*table.state(slot), alone, "a state does not see it");
    take(&mut table, slot, &event(2, 1, 60 + 31 * 86_400));
    assert_eq!((table.state(slot).events(), table.memory(slot)), (1, Memory::default()), "it expired");
    table.remember(slot, &memory);
    assert_eq!(table.insert(EntityKey(2), EntityState::default(), 0), slot, "it displaced the other");
    assert_eq!(table.memory(slot), Memory::default());
}
