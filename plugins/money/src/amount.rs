//! Amounts as text: minor units as the API writes them, major units as reports write them.

/// What stands between whole units and the fraction in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Separator {
    /// `12.34`
    #[default]
    Point,
    /// `12,34`
    Comma,
}

impl Separator {
    fn byte(self) -> u8 {
        match self {
            Self::Point => b'.',
            Self::Comma => b',',
        }
    }
}

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Something else than digits, a sign and the declared separator.
    #[error("is not a number")]
    NotANumber,
    /// `10.00` where minor units are expected.
    #[error("has a fraction where whole minor units are expected: 10.00 is written 1000")]
    FractionOfMinorUnit,
    /// The currency has fewer decimals than the text.
    #[error("has more decimals than its currency, which has {0}")]
    TooManyDecimals(u32),
    /// Beyond 64 bits.
    #[error("does not fit into 64 bits")]
    OutOfRange,
    /// `1,234`: more than a thousand, or one and a fraction.
    #[error("may be thousands or decimals: write it without separators of thousands, or with its decimals")]
    ThousandsOrDecimals,
}

/// Reads whole minor units.
///
/// # Errors
/// When the text is not exactly that. Nothing is rounded and nothing is guessed.
#[inline]
pub fn parse_minor(text: &[u8]) -> Result<i64, AmountError> {
    let (negative, digits) = split_sign(text)?;
    let read = if digits.len() <= 18 { short(negative, digits) } else { signed(negative, digits, 0, 0) };
    match read {
        Err(AmountError::NotANumber) if looks_like_a_fraction(digits) => Err(AmountError::FractionOfMinorUnit),
        read => read,
    }
}

/// Reads major units of a currency with so many `decimals` into minor units. There may be fewer decimals than the currency has, and more
/// when they are zero. Thousands may be set apart, as spreadsheets do, where there is no doubt that it is they: `1,234.50`, `1 234.50`, `1'234`,
/// `1,234,567`. A lone `1,234` may be a fraction in another country's hand and is refused.
///
/// # Errors
/// When the text is not exactly that.
pub fn parse_major(text: &[u8], decimals: u32, separator: Separator) -> Result<i64, AmountError> {
    match plain_major(text, decimals, separator) {
        Err(AmountError::NotANumber) => plain_major(&without_thousands(text, separator)?, decimals, separator),
        read => read,
    }
}

/// Marks between thousands besides the comma and the point: blanks of several widths, and apostrophes.
const THOUSANDS: [&str; 6] = [" ", "\u{a0}", "\u{202f}", "\u{2009}", "'", "\u{2019}"];

/// The same number without what stands between its thousands.
fn without_thousands(text: &[u8], separator: Separator) -> Result<Vec<u8>, AmountError> {
    let text = std::str::from_utf8(text).map_err(|_| AmountError::NotANumber)?;
    let (decimal, other) = match separator {
        Separator::Point => ('.', ","),
        Separator::Comma => (',', "."),
    };
    let (signed, fraction) = text.split_once(decimal).map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = signed.trim_start_matches(['-', '+']);
    let mark = THOUSANDS.into_iter().chain([other]).find(|mark| digits.contains(mark)).ok_or(AmountError::NotANumber)?;
    let groups: Vec<&str> = digits.split(mark).collect();
    let is_group = |(at, group): (usize, &&str)| {
        let fits = if at == 0 { (1..=3).contains(&group.len()) } else { group.len() == 3 };
        fits && group.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !groups.iter().enumerate().all(is_group) {
        return Err(AmountError::NotANumber);
    }
    if mark == other && groups.len() == 2 && fraction.is_none() {
        return Err(AmountError::ThousandsOrDecimals);
    }
    let sign = signed.strip_suffix(digits).unwrap_or_default();
    let fraction = fraction.map(|fraction| format!("{decimal}{fraction}")).unwrap_or_default();
    Ok(format!("{sign}{}{fraction}", groups.concat()).into_bytes())
}

fn plain_major(text: &[u8], decimals: u32, separator: Separator) -> Result<i64, AmountError> {
    let (negative, digits) = split_sign(text)?;
    let Some(at) = digits.iter().position(|byte| *byte == separator.byte()) else { return signed(negative, digits, 0, decimals) };
    let (whole, rest) = digits.split_at(at);
    let fraction = rest.get(1..).unwrap_or_default();
    if whole.is_empty() || fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return Err(AmountError::NotANumber);
    }
    let (kept, beyond) = fraction.split_at(fraction.len().min(decimals as usize));
    if beyond.iter().any(|digit| *digit != b'0') {
        return Err(AmountError::TooManyDecimals(decimals));
    }
    let missing = decimals - u32::try_from(kept.len()).unwrap_or(decimals);
    let whole = signed(negative, whole, 0, 0)?;
    signed(negative, kept, whole, missing)
}

/// Minor units as major units with a point: `-1234` with two decimals is `-12.34`.
#[must_use]
pub fn show_major(minor: i64, decimals: u32) -> String {
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = decimals as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals as usize);
    let sign = if minor < 0 { "-" } else { "" };
    if decimals == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[inline]
fn split_sign(text: &[u8]) -> Result<(bool, &[u8]), AmountError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if text.is_empty() {
        return Err(AmountError::Empty);
    }
    if digits.is_empty() {
        return Err(AmountError::NotANumber);
    }
    Ok((negative, digits))
}

/// Eight digits at once: neighbours become pairs, pairs become fours, and those the number.
fn eight_digits(text: [u8; 8]) -> Option<i64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let digits = u64::from_le_bytes(text) ^ (ONES * u64::from(b'0'));
    // A digit is 0 to 9 now: it has no high half, and none after six is added.
    if (digits | digits.wrapping_add(ONES * 6)) & (ONES * 0xf0) != 0 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    i64::try_from((fours * 10_000 + (fours >> 32)) & 0xffff_ffff).ok()
}

/// Eighteen digits always fit, which is every amount there is but the absurd: no check at each digit, and no loop, in each turn of which a
/// sandbox would look at the fuel and at the time.
#[inline]
fn short(negative: bool, digits: &[u8]) -> Result<i64, AmountError> {
    let (value, last) = match digits.split_last_chunk::<8>() {
        Some((before, last)) => (before_last(before), *last),
        None => (Some(0), right_aligned(digits)),
    };
    let (Some(value), Some(last)) = (value, eight_digits(last)) else { return Err(AmountError::NotANumber) };
    let value = value * 100_000_000 + last;
    Ok(if negative { -value } else { value })
}

/// What stands before the last eight digits: at most ten.
#[inline]
fn before_last(digits: &[u8]) -> Option<i64> {
    match digits {
        [] => Some(0),
        [one] => single(*one),
        [ten, one] => Some(single(*ten)? * 10 + single(*one)?),
        digits => match digits.split_last_chunk::<8>() {
            Some((before, last)) => Some(before_last(before)? * 100_000_000 + eight_digits(*last)?),
            None => eight_digits(right_aligned(digits)),
        },
    }
}

#[inline]
fn single(digit: u8) -> Option<i64> {
    digit.is_ascii_digit().then(|| i64::from(digit - b'0'))
}

/// Up to eight digits with zeros before them.
#[inline]
fn right_aligned(digits: &[u8]) -> [u8; 8] {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let missing = 8 * 8usize.saturating_sub(digits.len());
    let text = match (digits, digits.first_chunk::<4>(), digits.last_chunk::<4>()) {
        // The two overlap in the middle.
        (_, Some(first), Some(last)) => u64::from(u32::from_le_bytes(*first)) << missing | u64::from(u32::from_le_bytes(*last)) << 32,
        ([a, b, c], ..) => u64::from(*a) << 40 | u64::from(*b) << 48 | u64::from(*c) << 56,
        ([a, b], ..) => u64::from(*a) << 48 | u64::from(*b) << 56,
        ([a], ..) => u64::from(*a) << 56,
        _ => 0,
    };
    // A number that has eight digits misses none.
    (text | ZEROS & !(u64::MAX.checked_shl(missing as u32).unwrap_or(0))).to_le_bytes()
}

/// Goes on from `start` with `digits` and then so many zeros. It counts downwards, because there is one more negative number than positive.
fn signed(negative: bool, digits: &[u8], start: i64, zeros: u32) -> Result<i64, AmountError> {
    let mut value = if negative { start } else { -start };
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return Err(AmountError::NotANumber);
        }
        value = value.checked_mul(10).and_then(|v| v.checked_sub(i64::from(digit))).ok_or(AmountError::OutOfRange)?;
    }
    value = 10i64.checked_pow(zeros).and_then(|factor| value.checked_mul(factor)).ok_or(AmountError::OutOfRange)?;
    if negative { Ok(value) } else { value.checked_neg().ok_or(AmountError::OutOfRange) }
}

fn looks_like_a_fraction(digits: &[u8]) -> bool {
    digits.first().is_some_and(u8::is_ascii_digit) && digits.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minor(text: &str) -> Result<i64, AmountError> {
        parse_minor(text.as_bytes())
    }

    fn major(text: &str, decimals: u32) -> Result<i64, AmountError> {
        parse_major(text.as_bytes(), decimals, Separator::Point)
    }

    #[test]
    fn minor_units_are_whole_numbers() {
        assert_eq!([minor("1000"), minor("-1500"), minor("+7"), minor("0")], [Ok(1000), Ok(-1500), Ok(7), Ok(0)]);
        assert_eq!(minor("10.00"), Err(AmountError::FractionOfMinorUnit));
        for text in ["-", "1e3", "0x10", " 1", "1 000", "--1", "."] {
            assert_eq!(minor(text), Err(AmountError::NotANumber), "{text}");
        }
        assert_eq!(minor(""), Err(AmountError::Empty));
    }

    #[test]
    fn eight_digits_at_once_are_the_same_digits() {
        assert_eq!(
            [eight_digits(*b"00000000"), eight_digits(*b"99999999"), eight_digits(*b"12345678")],
            [Some(0), Some(99_999_999), Some(12_345_678)]
        );
        for bad in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            for place in 0..8 {
                let mut text = *b"90909090";
                text[place] = bad;
                assert_eq!(eight_digits(text), None, "{text:?}");
            }
        }
    }

    #[test]
    fn major_units_follow_the_decimals_of_the_currency() {
        assert_eq!([major("10", 2), major("10.5", 2), major("10.50", 2), major("-0.01", 2)], [Ok(1000), Ok(1050), Ok(1050), Ok(-1)]);
        assert_eq!([major("500", 0), major("500.00", 0), major("1.234", 3)], [Ok(500), Ok(500), Ok(1234)]);
        assert_eq!(major("10.505", 2), Err(AmountError::TooManyDecimals(2)));
        assert_eq!(parse_major(b"1234,50", 2, Separator::Comma), Ok(123_450));
        for text in [".5", "5.", "1.2.3", "1.-2", "ten"] {
            assert_eq!(major(text, 2), Err(AmountError::NotANumber), "{text}");
        }
    }

    #[test]
    fn thousands_are_passed_over_where_there_is_no_doubt() {
        for text in ["1,234.50", "1 234.50", "1'234.50", "1\u{a0}234.5", "1\u{202f}234.50", "1\u{2019}234.50"] {
            assert_eq!(major(text, 2), Ok(123_450), "{text}");
        }
        assert_eq!(
            [major("-1,234,567", 2), major("+12,345,678.9", 2), major("1 234", 2)],
            [Ok(-123_456_700), Ok(1_234_567_890), Ok(123_400)]
        );
        assert_eq!([major("1,234,567", 0), major("1,234.567", 3)], [Ok(1_234_567), Ok(1_234_567)]);
        let comma = |text: &str, decimals: u32| parse_major(text.as_bytes(), decimals, Separator::Comma);
        assert_eq!([comma("1.234,50", 2), comma("1.234.567", 2), comma("-1 234,5", 2)], [Ok(123_450), Ok(123_456_700), Ok(-123_450)]);
        for decimals in [0, 2, 3] {
            assert_eq!([major("1,234", decimals), comma("-1.234", decimals)], [Err(AmountError::ThousandsOrDecimals); 2]);
        }
        for text in [
            "12,34",
            "1,23,456.00",
            "1,2345.00",
            ",123.00",
            "1234,567.00",
            "1,234 567.00",
            "1,234.567,8",
            "1.234,50",
            "1,,234.00",
            "--1,234.00",
        ] {
            assert_eq!(major(text, 2), Err(AmountError::NotANumber), "{text}");
        }
        assert_eq!(major("1,234.567", 2), Err(AmountError::TooManyDecimals(2)));
    }

    #[test]
    fn the_ends_of_64_bits_are_exact() {
        assert_eq!([minor("9223372036854775807"), minor("-9223372036854775808")], [Ok(i64::MAX), Ok(i64::MIN)]);
        assert_eq!([minor("9223372036854775808"), minor("-9223372036854775809")], [Err(AmountError::OutOfRange); 2]);
        assert_eq!([major("92233720368547758.07", 2), major("-92233720368547758.08", 2)], [Ok(i64::MAX), Ok(i64::MIN)]);
        assert_eq!([major("92233720368547758.08", 2), major("92233720368547759", 2)], [Err(AmountError::OutOfRange); 2]);
        assert_eq!([show_major(i64::MIN, 2), show_major(-5, 2), show_major(0, 3)], ["-92233720368547758.08", "-0.05", "0.000"]);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(amount: i64, decimals in 0u32..4) {
            prop_assert_eq!(major(&show_major(amount, decimals), decimals), Ok(amount));
            prop_assert_eq!(minor(&amount.to_string()), Ok(amount));
        }

        #[test]
        fn digits_of_every_number_are_read(digits in "[-+]?[0-9]{1,20}", at in 0usize..20, strange in prop::sample::select(b"/:.- a\xff\0".to_vec())) {
            let expected = digits.parse::<i64>().map_err(|_| AmountError::OutOfRange);
            prop_assert_eq!(minor(&digits), expected);
            let mut text = digits.into_bytes();
            if at > 0 && let Some(byte) = text.get_mut(at) {
                *byte = strange;
                prop_assert!(parse_minor(&text).is_err(), "{:?}", text);
            }
        }

        #[test]
        fn no_text_is_too_strange(text: Vec<u8>, decimals in 0u32..4) {
            let _ = parse_minor(&text);
            let _ = parse_major(&text, decimals, Separator::Comma);
        }
    }
}
