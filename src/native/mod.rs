//! Vector kernels behind run-time detection, each with a portable twin that gives the same bits.
//!
//! The one place with `unsafe`, which must never: be reached without the check that the machine has the instructions, read or
//! write outside the fixed-size arrays it is given, or give another result than the portable path.
#![allow(unsafe_code)] // Loads through vector intrinsics take raw pointers, and a `target_feature` function is only safe after detection.

#[cfg(feature = "app")]
pub mod consume; // librdkafka's batch calls, which the wrapper crate lacks
#[cfg(feature = "app")]
pub mod describe; // topic ids
#[cfg(target_arch = "x86_64")]
mod forest_avx2;
#[cfg(target_arch = "x86_64")]
mod forest_avx512;
#[cfg(target_arch = "x86_64")]
mod lstm_avx512;
mod memory;
#[cfg(feature = "app")]
pub mod produce; // the same for its producer
mod text;
#[cfg(target_arch = "x86_64")]
mod trees_avx512;

#[cfg(feature = "app")]
pub use memory::keep_freed_for;
pub use memory::{prefetch, prefetch_lines, use_huge_pages};
pub use text::{FAST_STRING_STOPS, ascii_text, string_stops};

use crate::core::detect::forest::layout::{Row, Tree, path_sums_portable};
use crate::core::detect::lstm::State;
use crate::core::detect::lstm::kernel::{Packed, steps_portable};
use crate::core::detect::trees::kernel::{LANES, Lanes, symmetric_sums_portable};
use crate::core::detect::trees::layout::{Level, Span};

/// How the isolation forest and boosted trees are walked and the autoencoder steps. All give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    Portable,
    Avx2,
    Avx512,
}

impl Kernel {
    /// The kernels this machine can run, slowest first; never empty.
    #[must_use]
    pub fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        {
            if wide() && is_x86_feature_detected!("bmi2") {
                return &[Self::Portable, Self::Avx2, Self::Avx512];
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
                return &[Self::Portable, Self::Avx2];
            }
        }
        &[Self::Portable]
    }

    #[must_use]
    pub fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }
}

/// Adds up, for each row, the leaf values it reaches in all trees. `sums` is overwritten and as long as `rows`.
///
/// A kernel that this machine lacks is replaced by the portable one.
pub fn forest_path_sums(kernel: Kernel, trees: &[Tree], rows: &[Row], sums: &mut [u32]) {
    assert_eq!(rows.len(), sums.len(), "one sum a row");
    match if Kernel::available().contains(&kernel) { kernel } else { Kernel::Portable } {
        // SAFETY: `available` has just seen the instructions that these functions are compiled for.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => unsafe { forest_avx512::path_sums(trees, rows, sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => unsafe { forest_avx2::path_sums(trees, rows, sums) },
        _ => path_sums_portable(trees, rows, sums),
    }
}

/// What the AVX-512 kernels are compiled for, bit manipulation aside; every machine with the newer parts of it has the older.
#[cfg(target_arch = "x86_64")]
fn wide() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
}

/// One step of the autoencoder for each entity: the error of its row, and the state that has taken it up.
///
/// AVX2 is what the portable body is compiled for; a kernel that this machine lacks is replaced by that.
pub fn lstm_steps(kernel: Kernel, packed: &Packed, states: &mut [&mut State], rows: &[&[f32]], errors: &mut [f32]) {
    match if Kernel::available().contains(&kernel) { kernel } else { Kernel::Portable } {
        // SAFETY: `available` has just seen the instructions that this function is compiled for.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => unsafe { lstm_avx512::steps(packed, states, rows, errors) },
        _ => steps_portable(packed, states, rows, errors),
    }
}

/// Adds to `sums`, for each of sixteen rows, the leaves it reaches in all symmetric trees. `block` holds one entry for each input.
///
/// A kernel that this machine lacks, or that symmetric trees have not, is replaced by the portable one.
pub fn trees_symmetric_sums(kernel: Kernel, spans: &[Span], levels: &[Level], leaves: &[i32], block: &[Lanes], sums: &mut [i32; LANES]) {
    match if Kernel::available().contains(&kernel) { kernel } else { Kernel::Portable } {
        // SAFETY: `available` has just seen the instructions that this function is compiled for.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => unsafe { trees_avx512::symmetric_sums(spans, levels, leaves, block, sums) },
        _ => symmetric_sums_portable(spans, levels, leaves, block, sums),
    }
}
