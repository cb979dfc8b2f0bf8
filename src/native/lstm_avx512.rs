//! The LSTM's step on AVX-512: the portable body compiled for registers that hold all gates of a memory at once.
//!
//! Must never be called on a machine without AVX-512F.

use crate::core::detect::lstm::State;
use crate::core::detect::lstm::kernel::{self, Packed};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn steps(packed: &Packed, states: &mut [&mut State], rows: &[&[f32]], errors: &mut [f32]) {
    kernel::steps(packed, states, rows, errors);
}
