//! Where certain bytes are in 64, as bits: what scans text looks at bits, not at bytes.

/// A bit for each byte that is one of two.
#[cfg(target_feature = "simd128")]
#[inline(always)]
pub(super) fn marks(bytes: &[u8; 64], one: u8, other: u8) -> u64 {
    use std::arch::wasm32::{i8x16_bitmask, i8x16_eq, u8x16_splat, u64x2, v128_or};
    let (one, other) = (u8x16_splat(one), u8x16_splat(other));
    let (words, _) = bytes.as_chunks::<8>();
    let mut bits = 0;
    for (at, pair) in words.as_chunks::<2>().0.iter().enumerate() {
        let lanes = u64x2(u64::from_le_bytes(pair[0]), u64::from_le_bytes(pair[1]));
        let found = i8x16_bitmask(v128_or(i8x16_eq(lanes, one), i8x16_eq(lanes, other)));
        bits |= u64::from(found) << (16 * at);
    }
    bits
}

/// A bit for each byte that is one of two.
#[cfg(not(target_feature = "simd128"))]
pub(super) fn marks(bytes: &[u8; 64], one: u8, other: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOWS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // Moves the lowest bit of each byte into the highest byte, in their order.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (one, other) = (u64::from(one) * ONES, u64::from(other) * ONES);
    // The high bit of each byte that is zero, exactly: nothing is carried from byte to byte.
    let zeros = |word: u64| !(((word & LOWS) + LOWS) | word | LOWS);
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().enumerate().fold(0, |bits, (at, word)| {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ one) | zeros(word ^ other);
        bits | (found >> 7).wrapping_mul(GATHER) >> 56 << (8 * at)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_is_where_a_separator_or_a_line_end_is(bytes in prop::array::uniform32(prop::sample::select(b"ab;,\n\x0b\x2d\x80\xac\xff".to_vec()))) {
            let twice: [u8; 64] = std::array::from_fn(|at| bytes[at % 32].rotate_left(at as u32 / 32));
            let expected = (0..64).filter(|at| matches!(twice[*at], b',' | b'\n')).fold(0u64, |bits, at| bits | 1 << at);
            prop_assert_eq!(marks(&twice, b',', b'\n'), expected);
        }
    }
}
