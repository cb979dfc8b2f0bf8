//! Small numeric kernels that give the same bits on every machine: plain IEEE multiplications and additions in a fixed order.
//!
//! The functions of `std` may differ between platforms; those of `libm` do not, but cost ten times as much per event.

/// e^-x for `x >= 0`, relative error below 3e-6. Larger than 87 gives 0.
///
/// 2^y is split into an exponent, set by bits, and a fraction, by a degree-5 polynomial (Remez on [0, 1]).
#[must_use]
#[inline]
pub fn exp_neg(x: f32) -> f32 {
    if x > 87.0 {
        return 0.0;
    }
    let y = -x * std::f32::consts::LOG2_E;
    let whole = y.floor();
    let f = y - whole;
    let p = 1.0 + f * (0.693_152_5 + f * (0.240_152_8 + f * (0.055_835_98 + f * (0.008_973_314 + f * 0.001_885_323_4))));
    f32::from_bits((((whole as i32) + 127) as u32) << 23) * p
}

/// [`exp_neg`] of several, in vectors where the machine has them; the same bits.
#[must_use]
#[inline]
pub fn exp_neg_each<const N: usize>(x: [f32; N]) -> [f32; N] {
    x.map(|x| {
        // Larger than 87 is found out at the end, so that nothing branches.
        let y = -x.min(87.0) * std::f32::consts::LOG2_E;
        let whole = y.floor();
        let f = y - whole;
        let p = 1.0 + f * (0.693_152_5 + f * (0.240_152_8 + f * (0.055_835_98 + f * (0.008_973_314 + f * 0.001_885_323_4))));
        let value = f32::from_bits((((whole as i32) + 127) as u32) << 23) * p;
        if x > 87.0 { 0.0 } else { value }
    })
}

/// Base-2 logarithm for `x >= 1`, absolute error below 1e-5; anything smaller gives 0.
#[must_use]
#[inline]
pub const fn log2(x: f32) -> f32 {
    if x <= 1.0 { 0.0 } else { log2_above_one(x) }
}

#[inline(always)]
const fn log2_above_one(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = ((bits >> 23) as i32 - 127) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000) - 1.0;
    // Minimax polynomial of log2(1 + m) / m on [0, 1).
    let high = 0.194_287_03 + m * (-0.079_552_81 + m * 0.015_528_594);
    let p = m * (1.442_667_8 + m * (-0.720_585_05 + m * (0.473_551_3 + m * (-0.325_896_53 + m * high))));
    exponent + p
}

/// [`log2`] of several, in vectors where the machine has them; the same bits.
#[must_use]
#[inline]
pub fn log2_each<const N: usize>(x: [f32; N]) -> [f32; N] {
    x.map(|x| {
        let value = log2_above_one(x);
        if x <= 1.0 { 0.0 } else { value }
    })
}

/// Natural logarithm for `x >= 1`, by [`log2`].
#[must_use]
#[inline]
pub fn ln(x: f32) -> f32 {
    log2(x) * std::f32::consts::LN_2
}

/// log2(count + 1) of a whole number.
#[must_use]
#[inline]
pub fn log2_count(count: u64) -> f32 {
    log2(count as f32 + 1.0)
}

/// Finalizer of MurmurHash3 (Appleby): spreads every bit of `x` over all 64.
#[must_use]
#[inline]
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// A stable 64-bit hash for sketches. Not for keys that someone may want to collide: sketches only lose accuracy by it.
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (bytes.len() as u64);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x9fb2_1c65_1e98_df25);
        state ^= state >> 32;
    }
    mix(state ^ little_endian(chunks.remainder()))
}

/// Up to 7 bytes as a number, by loads that overlap instead of a loop or a copy.
#[inline]
fn little_endian(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (n - 4));
    }
    match bytes {
        [] => 0,
        _ => u64::from(bytes[0]) | u64::from(bytes[n / 2]) << (8 * (n / 2)) | u64::from(bytes[n - 1]) << (8 * (n - 1)),
    }
}

/// [`hash_bytes`] of a 128-bit key.
#[must_use]
#[inline]
pub fn hash_key(key: u128) -> u64 {
    mix((key as u64) ^ mix((key >> 64) as u64 ^ 0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_stay_within_their_stated_errors() {
        for i in 0..20_000 {
            let x = i as f32 * 0.004;
            let exact = libm::exp(-f64::from(x));
            assert!((f64::from(exp_neg(x)) - exact).abs() <= exact * 4e-6 + 1e-37, "exp_neg({x})");
            let y = 1.0 + x * x * x * 1000.0;
            assert!((f64::from(log2(y)) - libm::log2(f64::from(y))).abs() < 1e-5, "log2({y})");
        }
        for i in 0..5_000 {
            let x = [i as f32 * 0.02, i as f32 * 1e-5, i as f32 * i as f32 * 0.7, 1.0 / i as f32];
            assert_eq!(exp_neg_each(x).map(f32::to_bits), x.map(|x| exp_neg(x).to_bits()), "{x:?}");
            assert_eq!(log2_each(x).map(f32::to_bits), x.map(|x| log2(x).to_bits()), "{x:?}");
        }
        assert!((exp_neg(0.0) - 1.0).abs() < 1e-6);
        assert!(exp_neg(1e9).abs() < 1e-30);
        assert!(log2(0.0).abs() < 1e-30);
    }

    #[test]
    fn hashes_are_pinned_because_stored_sketches_depend_on_them() {
        assert_eq!(hash_bytes(b""), 0x9ca066f1a4ab2eea);
        assert_eq!(hash_bytes(b"10.0.0.1"), 0xba9c2cdd9603242e);
        assert_eq!(hash_key(1), 0x8d82751399f55d54);
        assert_ne!(hash_bytes(b"a"), hash_bytes(b"b"));
        assert_ne!(hash_bytes(b"12345678"), hash_bytes(b"123456780"));
        for length in 0..8 {
            let mut padded = [0; 8];
            padded[..length].copy_from_slice(&b"\x81bcdefg"[..length]);
            assert_eq!(little_endian(&padded[..length]), u64::from_le_bytes(padded), "{length} bytes");
        }
        for length in 0..8 {
            let mut padded = [0; 8];
            padded[..length].copy_from_slice(&b"\x81bcdefg"[..length]);
            assert_eq!(little_endian(&padded[..length]), u64::from_le_bytes(padded), "{length} bytes");
        }
    }
}
