//! Exchange rates as exact decimals.

/// A positive decimal number: `mantissa` / 10^`scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rate {
    mantissa: i64,
    scale: u32,
}

/// Why a text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a positive decimal number of at most 18 digits, such as 0.88")]
pub struct RateError;

/// Beyond this many decimals a rate makes no difference to any amount that fits into 64 bits.
const SCALE_MAX: i64 = 36;

impl Rate {
    /// Reads `0.88`, `1234`, or `8.8e-05` as JSON may write it.
    ///
    /// # Errors
    /// When the text is something else, zero, or has more than 18 significant digits.
    pub fn parse(text: &[u8]) -> Result<Self, RateError> {
        let text = std::str::from_utf8(text).map_err(|_| RateError)?;
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i64>().map_err(|_| RateError)?),
            None => (text, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{}", fraction.trim_end_matches('0'));
        let all_digits = whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits || digits.trim_start_matches('0').len() > 18 {
            return Err(RateError);
        }
        let mut mantissa: i64 = digits.parse().map_err(|_| RateError)?;
        let decimals = i64::try_from(digits.len() - whole.len()).map_err(|_| RateError)?;
        let mut scale = decimals.checked_sub(exponent).ok_or(RateError)?;
        if mantissa == 0 {
            return Err(RateError);
        }
        while scale < 0 {
            mantissa = mantissa.checked_mul(10).ok_or(RateError)?;
            scale += 1;
        }
        if scale > SCALE_MAX {
            return Err(RateError);
        }
        Ok(Self { mantissa, scale: u32::try_from(scale).map_err(|_| RateError)? })
    }

    /// An amount in minor units of one currency in minor units of another; the rate is between major units. Halves are rounded away from
    /// zero. None when the result does not fit.
    #[must_use]
    pub fn convert(self, amount: i64, from_decimals: u32, to_decimals: u32) -> Option<i64> {
        let product = i128::from(amount).checked_mul(i128::from(self.mantissa))?;
        let divisor_digits = self.scale.checked_add(from_decimals)?;
        let result = if divisor_digits >= to_decimals {
            let divisor = 10i128.checked_pow(divisor_digits - to_decimals)?;
            divide_rounding(product, divisor)
        } else {
            product.checked_mul(10i128.checked_pow(to_decimals - divisor_digits)?)?
        };
        i64::try_from(result).ok()
    }
}

/// Rounds halves away from zero. The divisor is positive.
fn divide_rounding(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value / divisor, value % divisor);
    // `divisor - rest` cannot overflow, twice the rest could.
    if rest.abs() >= divisor - rest.abs() { quotient + value.signum() } else { quotient }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::show_major(self.mantissa, self.scale))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> Rate {
        Rate::parse(text.as_bytes()).expect("a rate")
    }

    #[test]
    fn a_charge_and_its_refund_at_the_rates_of_their_days() {
        assert_eq!(rate("0.88").convert(6000, 2, 2), Some(5280));
        assert_eq!(rate("0.86").convert(-6000, 2, 2), Some(-5160));
    }

    #[test]
    fn decimals_of_both_currencies_count() {
        assert_eq!(rate("0.0065").convert(1000, 0, 2), Some(650), "1000 yen are 6.50 dollars");
        assert_eq!(rate("153.25").convert(650, 2, 0), Some(996), "6.50 dollars are 996.125 yen");
        assert_eq!(rate("0.31").convert(1000, 2, 3), Some(3100));
    }

    #[test]
    fn halves_go_away_from_zero() {
        assert_eq!([rate("0.5").convert(1, 2, 2), rate("0.5").convert(-1, 2, 2)], [Some(1), Some(-1)]);
        assert_eq!(rate("0.49").convert(1, 2, 2), Some(0));
    }

    #[test]
    fn every_way_to_write_a_rate() {
        assert_eq!(rate("8.8e-01"), rate("0.88"));
        assert_eq!([rate("1e2").to_string(), rate("1.50").to_string(), rate("0.000123").to_string()], ["100", "1.5", "0.000123"]);
        for text in ["", "0", "-1", "1,5", "NaN", "1e", ".5", "1e99", "0e999999999999", "1e-99", "1.2.3", "9999999999999999999"] {
            assert!(Rate::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_none() {
        assert_eq!(rate("2").convert(i64::MAX, 2, 2), None);
        assert_eq!(rate("999999999999999999").convert(i64::MIN, 0, 3), None);
    }

    proptest! {
        #[test]
        fn a_rate_of_one_changes_nothing(amount: i64, decimals in 0u32..4) {
            prop_assert_eq!(rate("1.0").convert(amount, decimals, decimals), Some(amount));
        }

        #[test]
        fn no_text_is_too_strange(text: Vec<u8>, amount: i64, from in 0u32..4, to in 0u32..4) {
            if let Ok(rate) = Rate::parse(&text) {
                let _ = rate.convert(amount, from, to);
            }
        }
    }
}
